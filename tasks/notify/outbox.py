"""Pushes on disk until they are sent: each key once, whoever is killed and whoever else sends.

One file a key is made whole and never changes; a second, empty one beside it says that it was
sent. Who sends holds a lock on the first. The kernel gives the lock of a killed process back, so
nothing is lost and nobody waits; only one killed in the moment between the server's answer and
the mark is sent again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cft.files import PARTIAL, fsync_folder
from cft.home import Home
from tasks.notify.message import Push

KEEP_SECONDS = 14 * 24 * 3600.0  # a key is known, and an unsent push tried, for so long
_SENT = ".sent"
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Waiting:
    """A push that this process alone may send now."""

    key: str
    push: Push
    written: float  # unix seconds


class Outbox:
    """The outbox of a state folder."""

    def __init__(self, home: Home) -> None:
        self.folder = home.path / "outbox"

    def put(self, push: Push, key: str) -> Path:
        """Keep a push under its key, durably; the first one of a key stays."""
        path = self.folder / name_of(key)
        if path.exists():
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=PARTIAL)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"key": key, "written": time.time(), "push": push.to_json()}, file)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # somebody was quicker
                path.hardlink_to(beside)
        finally:
            Path(beside).unlink(missing_ok=True)
        fsync_folder(self.folder)
        return path

    def waiting(self) -> list[Path]:
        """What was not sent yet, the oldest first; others may be sending it now."""
        found = [(made, path) for path in self._kept() if (made := _made(path)) is not None]
        return [path for _, path in sorted(found) if not _mark(path).exists()]

    @contextlib.contextmanager
    def claimed(self, path: Path) -> Iterator[Waiting | None]:
        """The push at ``path``, this process's alone while the block lasts.

        None where it was sent, or another process is sending it.
        """
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            yield None
            return
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            yield None if self.sent(path) else _read(path)
        finally:
            os.close(handle)

    def sent(self, path: Path) -> bool:
        """Whether the push at ``path`` was sent."""
        return _mark(path).exists()

    def mark_sent(self, path: Path) -> None:
        """Note that it was sent, durably."""
        _mark(path).touch()
        fsync_folder(self.folder)

    def discard_old(self) -> int:
        """Forget what is older than two weeks; returns how many were never sent."""
        oldest, unsent = time.time() - KEEP_SECONDS, 0
        for path in self._kept():
            made = _made(path)
            if made is None or made > oldest:
                continue
            with self.claimed(path) as one:
                unsent += one is not None
                path.unlink(missing_ok=True)
                _mark(path).unlink(missing_ok=True)
        for path in self.folder.glob(f".*{PARTIAL}"):
            if (made := _made(path)) is not None and made < time.time() - 3600:
                path.unlink(missing_ok=True)
        return unsent

    def _kept(self) -> list[Path]:
        return list(self.folder.glob("*.json"))


def name_of(key: str) -> str:
    """File name of a key: readable, and different for any two keys."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"{_UNFIT.sub('-', key)[:80]}.{digest}.json"


def _mark(path: Path) -> Path:
    return path.with_suffix(_SENT)


def _made(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def _read(path: Path) -> Waiting | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return Waiting(record["key"], Push.from_json(record["push"]), record["written"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # of another version, or no push at all: it ages and goes
