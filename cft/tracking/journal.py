"""What a job says to MLflow, on disk before any server hears of it.

A journal is a folder ``runs/<job>/tracking/<server>/``: ``journal.jsonl`` holds the operations in
order, ``state.json`` how far the server has taken them and what it answered (run ids, a model's
URI, a version's number), ``files/`` copies of files that may vanish before they are sent. Each
server has a journal of its own, under a digest of its address, which may hold a password.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cft.errors import CftError
from cft.files import append_line, digest_json, read_lines, write_json
from cft.home import Home

OPERATIONS = "journal.jsonl"
STATE = "state.json"
TRACKING = "tracking"
ENDINGS = ("FINISHED", "FAILED", "KILLED")


@dataclasses.dataclass
class Replayed:
    """What MLflow has taken of a journal, and what it answered.

    Attributes:
        offset: bytes of the journal that have arrived.
        runs: role -> id of the run and of its experiment.
        following: role -> run directory whose event log becomes the run's metrics.
        models: role -> URI of the run's logged model.
        versions: role -> number of the version that was registered from that model.
        refused: operations that the server will never take, each with its reason.
    """

    offset: int = 0
    runs: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    following: dict[str, str] = dataclasses.field(default_factory=dict)
    models: dict[str, str] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    refused: list[dict[str, str]] = dataclasses.field(default_factory=list)


class Journal:
    """The operations of one job for one tracking server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / OPERATIONS

    @classmethod
    def of(cls, home: Home, job: str, uri: str) -> "Journal":
        """The journal of a job for the server at ``uri``; nothing is created until it is written.

        Raises:
            CftError: the job's name cannot be a folder's.
        """
        if not re.fullmatch(r"[\w][\w.\-]*", job):
            raise CftError(f"{job}: no name of a job; use letters, digits, '.', '-' and '_'")
        return cls(home.runs / job / TRACKING / digest_json(uri))

    @property
    def job(self) -> str:
        """The job whose journal this is."""
        return self.folder.parents[1].name

    def append(self, operation: str, role: str, **fields: Any) -> None:
        """Write one operation; it has reached the disk when this returns."""
        entry = {"t": time.time(), "op": operation, "role": role} | fields
        append_line(self.path, entry, durable=True)

    def read(self, offset: int = 0) -> list[tuple[dict[str, Any], int]]:
        """Operations from byte ``offset`` on, each with the offset after it."""
        return read_lines(self.path, offset)[0]

    def keep(self, path: Path) -> Path:
        """Copy a file or folder that may vanish before it is sent; the copy goes when it was."""
        target = self.folder / "files" / f"{time.time_ns()}" / path.name
        target.parent.mkdir(parents=True)
        if path.is_dir():
            shutil.copytree(path, target)
        else:
            shutil.copy2(path, target)
        return target

    def release(self, path: Path) -> None:
        """Remove what :meth:`keep` has made; every other path is left alone."""
        if path.is_relative_to(self.folder / "files"):
            shutil.rmtree(path.parent, ignore_errors=True)

    def state(self) -> Replayed:
        """How far the server has taken it; a lost or damaged record begins at the start again."""
        try:
            kept = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
            state = Replayed(**kept)
            state.runs = {role: (run, experiment) for role, (run, experiment) in state.runs.items()}
        except (OSError, ValueError, TypeError):
            return Replayed()
        return state

    def save(self, state: Replayed) -> None:
        """Make the position and the answers durable."""
        write_json(self.folder / STATE, dataclasses.asdict(state))

    def behind(self, state: Replayed) -> int:
        """How many operations the server has not taken yet."""
        return len(self.read(state.offset))

    def open_roles(self) -> list[str]:
        """Runs that were begun and not ended, in the order in which they began."""
        roles: dict[str, bool] = {}
        for entry, _ in self.read():
            if entry["op"] in ("begin", "end"):
                roles[entry["role"]] = entry["op"] == "begin"
        return [role for role, is_open in roles.items() if is_open]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one that replays this journal, as long as the block lasts.

        Raises:
            BlockingIOError: another process or thread replays it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / "replay.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(handle)


def journals(home: Home, uri: str) -> list[Journal]:
    """Every job's journal for the server at ``uri``, in the order of the jobs' names."""
    paths = home.runs.glob(f"*/{TRACKING}/{digest_json(uri)}/{OPERATIONS}")
    return [Journal(path.parent) for path in sorted(paths)]
