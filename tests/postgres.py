"""A PostgreSQL server of the test's own: in a folder, on a port of 127.0.0.1, gone afterwards."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.server import free_port

_DEBIAN = Path("/usr/lib/postgresql")
_SUPERUSER = "postgres"


def program(name: str) -> str | None:
    """Path of one of PostgreSQL's programs, which Debian keeps off the PATH; None without it."""
    versions = sorted(_DEBIAN.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(versions[-1]) if versions else shutil.which(name)


@contextmanager
def postgres(folder: Path) -> Iterator[int]:
    """Serve from ``folder`` while the block runs; gives the port. Loopback connections are trusted.

    As root it runs as the user ``postgres``, since PostgreSQL refuses root.
    """
    owner = [] if os.getuid() else ["runuser", "-u", _SUPERUSER, "--"]
    folder.mkdir(parents=True, exist_ok=True)
    if owner:
        shutil.chown(folder, _SUPERUSER, _SUPERUSER)
    data, port = folder / "data", free_port()
    initdb, control = program("initdb"), program("pg_ctl")
    if initdb is None or control is None:
        raise FileNotFoundError("PostgreSQL's server is not installed (apt install postgresql)")
    make = [initdb, "-D", str(data), "-U", _SUPERUSER, "-A", "trust", "--no-sync"]
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -F"
    serve = [control, "-D", str(data), "-w", "-t", "60", "-l", str(folder / "log")]
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run([*owner, *make], **quiet)
    subprocess.run([*owner, *serve, "-o", options, "start"], **quiet)
    try:
        yield port
    finally:
        subprocess.run([*owner, *serve, "-m", "immediate", "stop"], **quiet)


def url(port: int, driver: str = "postgresql+asyncpg") -> str:
    """URL of the database that every server has."""
    return f"{driver}://{_SUPERUSER}@127.0.0.1:{port}/{_SUPERUSER}"
