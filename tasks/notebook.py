"""JupyterLab for a person, on this machine or another, for as long as a flow runs."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from cft.errors import CftError
from cft.files import write_atomic
from tasks.machine.notebook import Notebook, notebook_at, start_notebook, stop_notebook
from tasks.machine.place import Place
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.tunnel import Tunnel
from tasks.own_state import asking

KEY = "notebook"
LOOK_SECONDS = 10.0


@task(name="notebook", cache_policy=NO_CACHE, retries=0)
def serve_notebook(
    place: Place, folder: str, link: str, port: int, hours: float, keep: bool
) -> str:
    """Serve JupyterLab on a machine through a port of this one, until its time is over.

    Its address with the token is written to ``link``, a file that only the user can read: what the
    UI keeps is read by others.

    Args:
        place: a machine that is reached by SSH.
        folder: that is served, on the machine.
        link: the file, on this machine.
        port: on this machine's 127.0.0.1; 0: a free one.
        hours: after which it ends.
        keep: whether the server goes on when the tunnel ends.

    Returns:
        How it ended.

    Raises:
        CftError: the machine has no JupyterLab, or the server ended by itself.
    """
    if place.host is None or place.site is None:
        raise CftError("machine: `cft notebook --machine local` serves this machine")
    logger, site, name = get_run_logger(), place.site, place.host.ssh.address
    with place.host.connect() as connection:
        notebook = start_notebook(
            connection, site.base, site.python, folder, code=site.code, name=name
        )
        until = datetime.now(UTC) + timedelta(hours=hours)
        with (
            _ended(connection, site.base, name, keep),
            Tunnel(connection, notebook.port, port) as tunnel,
            asking() as cancelled,
        ):
            write_atomic(Path(link), notebook.url(tunnel.local_port) + "\n", private=True)
            page = _page(notebook, tunnel.local_port, name, link, until)
            create_markdown_artifact(page, key=KEY, description=f"JupyterLab on {name}")
            logger.info("http://127.0.0.1:%d; with its token in %s", tunnel.local_port, link)
            return _wait(connection, site.base, notebook, name, until, cancelled)


@contextlib.contextmanager
def _ended(connection: Connection, base: str, name: str, keep: bool) -> Iterator[None]:
    try:
        yield
    finally:
        if not keep:
            stop_notebook(connection, base, name=name)


def _wait(
    connection: Connection,
    base: str,
    notebook: Notebook,
    name: str,
    until: datetime,
    cancelled: Callable[[], bool],
) -> str:
    looked = time.monotonic()
    while datetime.now(UTC) < until:
        if cancelled():
            return "cancelled"
        time.sleep(min(1.0, max(0.0, (until - datetime.now(UTC)).total_seconds())))
        if time.monotonic() - looked < LOOK_SECONDS:
            continue
        looked = time.monotonic()
        try:
            found = notebook_at(connection, base, name=name)
        except CftError:  # it is away, which says nothing about the server
            continue
        if found is None or found.pid != notebook.pid:
            raise CftError(f"{name}: the notebook's server has ended; run again for a new one")
    return "its time is over"


def _page(notebook: Notebook, port: int, name: str, link: str, until: datetime) -> str:
    return "\n".join(
        [
            f"# JupyterLab on {name}",
            "",
            f"- address: http://127.0.0.1:{port}, on the machine where this flow runs",
            f"- with its token: in `{link}`, readable by its owner alone",
            f"- serves: `{notebook.root}`",
            f"- until: {until:%Y-%m-%d %H:%M} UTC",
            "",
        ]
    )
