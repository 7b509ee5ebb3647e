"""Every process of a stack: what it started, and what those started, flow runs and jobs too."""

import contextlib

import psutil

from deployments.stack.process import TOKEN
from tasks.machine.process_table import end_all


def members(token: str) -> set[int]:
    """Pids of the living processes that carry a stack's token, this one not among them."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # gone, or another user's
            if process.environ().get(TOKEN) == token and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found - {psutil.Process().pid}


def family(pid: int | None) -> set[int]:
    """A process and all below it; empty where there is none."""
    with contextlib.suppress(psutil.Error):
        if pid is not None:
            return {pid, *(one.pid for one in psutil.Process(pid).children(recursive=True))}
    return set()


def end(token: str, grace: float, spare: set[int] | None = None) -> None:
    """TERM to all members but some, KILL to those that are left after ``grace`` seconds."""
    spared = spare or set()
    end_all(lambda: members(token) - spared, grace, patience=10)


def running_flow_runs(token: str) -> set[str]:
    """Ids of the flow runs that are at work under a stack's workers."""
    found = set()
    for pid in members(token):
        with contextlib.suppress(psutil.Error):
            found.add(psutil.Process(pid).environ().get("PREFECT__FLOW_RUN_ID", ""))
    return found - {""}
