"""Who lives on this machine, which of them are of a job, and how to end them.

Only the standard library is used: hosts get this file beside :mod:`supervisor`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

TOKEN = "CFT_JOB"  # environment variable that marks every process of a job
PROC = Path("/proc")


def boot_id() -> str:
    """Changes with every boot; empty where the system has none."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def processes() -> dict[int, tuple[int, str]]:
    """Living processes: pid to (parent pid, start time). Zombies are dead."""
    table = {}
    if PROC.joinpath("self/stat").exists():
        for entry in PROC.iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    # The name in parentheses may itself hold spaces and parentheses.
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if fields[0] not in "ZX":
                        table[int(entry.name)] = (int(fields[1]), fields[19])
        return table
    listing = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,stat=,lstart="], capture_output=True, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        pid, parent, state, start = line.split(None, 3)
        if not state.startswith("Z"):
            table[int(pid)] = (int(parent), start.strip())
    return table


def start_time(pid: int) -> str | None:
    """When a living process began, or None: with the pid it names one process for ever."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if PROC.joinpath("self/stat").exists():
            return None
        return processes().get(pid, (0, None))[1]
    return None if fields[0] in "ZX" else fields[19]


def members(token: str, root: int | None = None) -> set[int]:
    """Pids of a job: those that carry its token, and the descendants of ``root`` (not itself)."""
    table = processes()
    found = {pid for pid in table if _carries(pid, token)}
    if root is not None:
        children: dict[int, list[int]] = {}
        for pid, (parent, _) in table.items():
            children.setdefault(parent, []).append(pid)
        queue = list(children.get(root, []))
        while queue:
            pid = queue.pop()
            if pid not in found:
                found.add(pid)
            queue.extend(children.get(pid, []))
        found.discard(root)
    return found - {os.getpid()}


def _carries(pid: int, token: str) -> bool:
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:  # gone, or another user's
        return False
    return f"{TOKEN}={token}".encode() in environment.split(b"\0")


def signal_all(pids: set[int], number: int) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_all(alive: Callable[[], set[int]], grace: float, patience: float | None = None) -> set[int]:
    """TERM to all, then KILL to those left after ``grace`` seconds, until none is left.

    Args:
        alive: who is still there.
        grace: seconds between TERM and KILL.
        patience: seconds to wait after KILL for processes that the kernel holds (a driver, a dead
            network disk); without it for ever.

    Returns:
        Those that are left after all.
    """
    deadline = time.monotonic() + grace
    signal_all(alive(), signal.SIGTERM)
    while left := alive():
        now = time.monotonic()
        if now >= deadline:
            signal_all(left, signal.SIGKILL)
        if patience is not None and now >= deadline + patience:
            break
        time.sleep(0.05)
    return left
