"""What a machine runs, and what is known of it: plain data that survives the watcher."""

import hashlib
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

RECORD = "remote.json"  # in the mirror of a run directory: where its job is
LIVING = ("running", "waiting", "unheard", "fetching")
_SESSION = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class Job:
    """One command that reads and writes one run directory."""

    run: Path
    command: list[str]
    environment: dict[str, str | None] = field(default_factory=dict)  # None removes a variable
    slot: Path | None = None  # a file whose lock one job at a time has: a GPU, say
    files: dict[str, str] = field(default_factory=dict)  # for the run directory of another host


@dataclass(frozen=True)
class Handle:
    """Where a started job is found again: enough for another process to poll or stop it."""

    machine: str
    run: str
    pid: int  # of the supervisor
    start: str  # when that process began, so that a reused pid is not taken for it
    token: str  # in the environment of every process of the job
    attached: bool = False  # the job was running already

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class JobState:
    """What :meth:`Machine.poll` saw."""

    # "waiting" (for its slot), "running", "finished", "failed" or "killed"; of one on another host
    # also "unheard" (no answer, so it is taken to go on) and "fetching" (what it made comes home).
    state: str
    exit_code: int | None = None
    signal: int | None = None
    waits_for: str | None = None  # run directory of the job that has the slot

    @property
    def running(self) -> bool:
        """Whether any process of the job may be left, or what it made is not here yet."""
        return self.state in LIVING

    def __str__(self) -> str:
        if self.signal is not None:
            return f"{self.state} by signal {self.signal}"
        if self.exit_code is not None:
            return f"{self.state} with exit code {self.exit_code}"
        return self.state


class Machine(Protocol):
    """The verbs that every machine offers."""

    def start(self, job: Job) -> Handle:
        """Start the job, or attach when its run directory already has a living one."""

    def poll(self, handle: Handle) -> JobState:
        """What the job is doing now. Never blocks on the job."""

    def stop(self, handle: Handle) -> JobState:
        """TERM to all processes of the job, then KILL; returns when none is left."""


def session_name(folder: str, run: Path) -> str:
    """Name of the tmux session of a run.

    Args:
        folder: its run directory on the host, absolute.
        run: its mirror here.
    """
    mark = hashlib.sha256(folder.encode()).hexdigest()[:6]
    return _SESSION.sub("_", f"{run.parent.name[:8]}-{run.name}-{mark}")
