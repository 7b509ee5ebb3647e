"""Transactions of the stack's Prefect server on SQLite: writers wait, and readers do not."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import OperationalError

from deployments.stack.prefect_server import WritersInLine

READ, WRITE = sa.text("SELECT count FROM one"), sa.text("UPDATE one SET count = count + 1")


async def database(kind: type[AioSqliteConfiguration], folder: Path) -> AioSqliteConfiguration:
    """A file with one table of one row, a zero."""
    found = kind(connection_url=f"sqlite+aiosqlite:///{folder / 'one.db'}")
    async with (await found.engine()).begin() as connection:
        await connection.execute(sa.text("CREATE TABLE one (count INTEGER)"))
        await connection.execute(sa.text("INSERT INTO one VALUES (0)"))
    return found


async def counted(config: AioSqliteConfiguration, pause: float = 0.05) -> int:
    """Read, think, and write, in one transaction; returns what was read."""
    async with (
        await config.session(await config.engine()) as session,
        config.begin_transaction(session),
    ):
        found = (await session.execute(READ)).scalar_one()
        await asyncio.sleep(pause)
        await session.execute(WRITE)
        return found


def in_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Its result, or a failure where it hangs."""
    return asyncio.run(asyncio.wait_for(work, timeout=30))


def test_transactions_that_read_and_then_write_take_turns(tmp_path):
    async def work():
        config = await database(WritersInLine, tmp_path)
        return await asyncio.gather(*(counted(config) for _ in range(8)))

    # Each saw what the one before had written: nothing was refused, and nothing lost.
    assert sorted(in_loop(work())) == list(range(8))


def test_without_turns_they_are_refused(tmp_path):
    async def work():
        config = await database(AioSqliteConfiguration, tmp_path)
        await asyncio.gather(*(counted(config) for _ in range(2)))

    with pytest.raises(OperationalError, match="database is locked"):
        in_loop(work())


def test_who_reads_does_not_wait_for_a_writer(tmp_path):
    async def work():
        config = await database(WritersInLine, tmp_path)
        engine = await config.engine()
        async with await config.session(engine) as one, config.begin_transaction(one):
            await one.execute(WRITE)
            # In the same task: what Prefect knows of the mode of the outer one must not reach it.
            async with await config.session(engine) as other:
                return (await other.execute(READ)).scalar_one()

    assert in_loop(work()) == 0


def test_a_transaction_inside_another_does_not_wait_for_it(tmp_path):
    async def work():
        config = await database(WritersInLine, tmp_path)
        engine = await config.engine()
        async with (
            await config.session(engine) as one,
            config.begin_transaction(one),
            await config.session(engine) as other,
            config.begin_transaction(other),
        ):
            return (await other.execute(READ)).scalar_one()

    assert in_loop(work()) == 0


def test_a_failure_inside_leaves_the_database_free(tmp_path):
    async def work():
        config = await database(WritersInLine, tmp_path)
        with pytest.raises(ZeroDivisionError):
            async with (
                await config.session(await config.engine()) as session,
                config.begin_transaction(session),
            ):
                await session.execute(WRITE)
                _ = 1 / 0
        return await counted(config)

    assert in_loop(work()) == 0
