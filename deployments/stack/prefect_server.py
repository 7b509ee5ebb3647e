"""Prefect's server for one machine: its command line, on an SQLite where writers wait in line.

Prefect begins its transactions as `DEFERRED`. One that reads and then writes has to turn from a
reader into a writer. Where another has written in between, SQLite refuses that at once, without its
time-out: "database is locked". A transaction that begins as `IMMEDIATE` takes its turn first, and
waits for it as long as the time-out says (https://www.sqlite.org/lang_transaction.html). Prefect
does so where a row is read for an update; here every transaction does.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.cli import app
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from prefect.server.database.dependencies import MODELS_DEPENDENCIES
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


class WritersInLine(AioSqliteConfiguration):
    """Prefect's SQLite with transactions that take their turn to write when they begin."""

    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        """A transaction that commits at the end; see Prefect's own for the arguments.

        One inside another would wait for the outer one, which waits for it: it begins as Prefect
        has it.
        """
        nested = SQLITE_BEGIN_MODE.get() is not None
        async with super().begin_transaction(session, with_for_update) as transaction:
            if not nested:
                # Only for this connection: sessions that are opened meanwhile may just read.
                token = SQLITE_BEGIN_MODE.set("IMMEDIATE")
                try:
                    await session.connection()
                finally:
                    SQLITE_BEGIN_MODE.reset(token)
            yield transaction


def main() -> None:
    """`prefect`, with its arguments."""
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    if url.startswith("sqlite"):
        MODELS_DEPENDENCIES["database_config"] = WritersInLine(connection_url=url)
    app()


if __name__ == "__main__":
    main()
