"""What a run has printed, found by a few letters of its id: all of it lies in the state folder.

A job on another host is mirrored here by whoever watches it, so its log is read like any other.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from cft.errors import CftError
from cft.home import Home
from cft.tracking.run_directory import RunDirectory
from tasks.machine import supervisor
from tasks.machine.job import LIVING, RECORD
from tasks.machine.local import LocalMachine
from tasks.machine.watcher import watcher_of
from tasks.watch import LogFollower

NEWEST = 5  # runs that an error names
UNWATCHED_SECONDS = 10.0  # a watcher that is just replaced is missing for a moment
POLL_SECONDS = 0.5


def find_run(home: Home, name: str) -> Path:
    """The folder of a run.

    Args:
        home: the state folder.
        name: its flow run id, or as many first letters as only it has.

    Raises:
        CftError: there is none, or several; names the newest.
    """
    folders = [path for path in home.runs.glob("*") if path.is_dir()]
    found = [path for path in folders if path.name == name] or [
        path for path in folders if name and path.name.startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        some = _newest(found)
        raise CftError(f"run {name!r}: several begin so; give more letters. The newest: {some}")
    if not folders:
        raise CftError(f"run {name!r}: there are no runs in {home.runs}; see CFT_HOME")
    raise CftError(f"run {name!r}: not in {home.runs}. The newest there: {_newest(folders)}")


def _newest(folders: list[Path]) -> str:
    by_time = sorted(((path.stat().st_mtime, path.name) for path in folders), reverse=True)
    return ", ".join(
        f"{name} ({datetime.fromtimestamp(moment, UTC):%F %R} UTC)"
        for moment, name in by_time[:NEWEST]
    )


def stages_of(run: Path, stage: str | None = None) -> list[RunDirectory]:
    """The run directories of a run's stages, in the order in which they began.

    Args:
        run: its folder.
        stage: only this one.

    Raises:
        CftError: there is no such stage; names those that there are.
    """
    begun: dict[Path, float] = {}
    for pattern in ("*/spec.json", "*/train-*.log"):
        for path in run.glob(pattern):
            moment = path.stat().st_mtime
            begun[path.parent] = min(moment, begun.get(path.parent, moment))
    if stage is None:
        return [RunDirectory(path) for path in sorted(begun, key=begun.__getitem__)]
    if run / stage not in begun:
        names = ", ".join(sorted(path.name for path in begun)) or "none yet"
        raise CftError(f"stage {stage!r}: run {run.name} has {names}")
    return [RunDirectory(run / stage)]


def machine_logs(run: Path) -> list[Path]:
    """What happened to the machines of a run, one file for each attempt, oldest first."""
    return sorted(run.glob("machine-*.log"))


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a text file."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]


def job_lives(run: RunDirectory) -> bool | None:
    """Whether the job of a run directory lives; None where nobody here can say.

    That is a job on another host which nobody watches: what is known of it here stands still.
    """
    if supervisor.read_json(run.path / "supervisor.json"):
        return LocalMachine().find(run.path) is not None
    if watcher_of(run.path).state == "alive":
        # It may be about to start the job, which the status of an earlier attempt does not say.
        return True
    ended = str(run.read_status().get("state") or "running") not in LIVING
    return None if (run.path / RECORD).exists() and not ended else False


def follow_log(
    run: RunDirectory,
    lines: int,
    *,
    lives: Callable[[RunDirectory], bool | None] = job_lives,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """The last lines of a job's log, then new ones as they come, until it has ended.

    Args:
        run: the run directory.
        lines: how many of those that are there already.
        lives: tells whether the job lives.
        sleep: waits for so many seconds.

    Raises:
        CftError: nobody watches the job any more, so nothing new will come.
    """
    follower, unknown = LogFollower(run), 0.0
    # Asked first: what a job wrote before its end is in the log by the time its end is seen.
    alive = lives(run)
    begun = follower.lines(final=alive is False)
    yield from begun[len(begun) - min(lines, len(begun)) :]
    while alive is not False:
        sleep(POLL_SECONDS)
        alive = lives(run)
        yield from follower.lines(final=alive is False)
        unknown = unknown + POLL_SECONDS if alive is None else 0.0
        if unknown > UNWATCHED_SECONDS:
            raise CftError(
                f"run {run.path.parent.name}: nobody watches its {run.path.name}, which may go on "
                "on its host; retry the run in Prefect to take it up"
            )
