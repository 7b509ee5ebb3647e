"""Who watches a job: one process at a time, known by a lock that ends with it.

A job that nobody watches looks like any other, and so does a flow run whose process was killed.
The lock tells them apart at once and for certain, where heartbeats take minutes; the text beside
it tells a person whom to ask.
"""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cft.errors import CftError
from cft.files import write_json
from tasks.machine import supervisor

LOCK = "watcher.lock"
RECORD = "watcher.json"


@dataclass(frozen=True)
class Watcher:
    """What a run directory says of its watcher.

    Attributes:
        state: ``alive``, ``dead`` (killed, or it left), or ``none`` where there never was one.
        since: unix seconds when it began.
        pid: of its process.
        host: where it runs.
        left: whether it took its leave; one that was killed did not.
    """

    state: Literal["alive", "dead", "none"]
    since: float = 0.0
    pid: int | None = None
    host: str = ""
    left: bool = False


@contextlib.contextmanager
def watching(run: Path, patience: float = 30.0) -> Iterator[None]:
    """Be the one watcher of a run directory for as long as the block lasts.

    A flow run that was taken for dead and is retried may have a process that lives after all. Two
    watchers would each stop the other's job as they leave, so the second waits, and then gives up.

    Raises:
        CftError: another process watches this run and does not leave within ``patience`` seconds.
    """
    run.mkdir(parents=True, exist_ok=True)
    handle = os.open(run / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + patience
        while not _lock(handle, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                other = watcher_of(run)
                raise CftError(
                    f"{run}: process {other.pid} on {other.host} watches this run; "
                    "wait until it has ended, or end it"
                )
            time.sleep(0.2)
        record = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        write_json(run / RECORD, record)
        try:
            yield
        finally:
            write_json(run / RECORD, record | {"left": time.time()})
    finally:
        os.close(handle)


def watcher_of(run: Path) -> Watcher:
    """The watcher of a run directory, alive or not."""
    try:
        handle = os.open(run / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Watcher("none")
    try:
        free = _lock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)
    record = supervisor.read_json(run / RECORD)
    return Watcher(
        "dead" if free else "alive",
        float(record.get("since") or 0.0),
        record.get("pid"),
        str(record.get("host", "")),
        bool(record.get("left")),
    )


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
