"""Whether anybody still wants the machine of a job: what a sweep goes by."""

import time
from collections.abc import Callable
from typing import Literal

from cft.home import Home
from tasks.machine.hire import lease_folder
from tasks.machine.watcher import RECORD, watcher_of

# over: it ended by itself or by a person's word. crashed: its process died. going: it is said to
# run, wait or start, which a dead process does not take back.
Standing = Literal["over", "crashed", "going"]


def wanted_by_lease(
    home: Home,
    grace: float,
    standing: Callable[[str], Standing | None] = lambda job: None,
    now: Callable[[], float] = time.time,
) -> Callable[[str], bool | None]:
    """What tells whether a job's machine is wanted, from its lease and what the server says.

    A lease whose process lives is wanted. One that was left, or whose run is over, is not. One
    whose process died is wanted for a while: its training may go on, and a retry finds it.

    Args:
        home: the state folder.
        grace: seconds after the last sign of a dead process until its machine is not wanted.
        standing: of a run, as the server says; None when it does not know the run or answer.
        now: seconds since the epoch.

    Returns:
        A function of the job: None where it has no lease here.
    """

    def wanted(job: str) -> bool | None:
        watcher = watcher_of(lease_folder(home, job))
        if watcher.state == "alive":
            return True
        if watcher.state == "none":
            return None
        if watcher.left or standing(job) == "over":
            return False
        return now() - _last_sign(home, job) < grace

    return wanted


def _last_sign(home: Home, job: str) -> float:
    """When the process of a job last wrote anything: its log and mirror grow while it lives."""
    paths = [lease_folder(home, job) / RECORD, *(home.runs / job).glob("*")]
    paths += (home.runs / job).glob("*/*")
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
