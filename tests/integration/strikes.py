"""Striking at a flow's training while it runs."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cft.home import Home
from cft.tracking.run_directory import RunDirectory
from tasks.machine import process_table, supervisor


def folders(home: Home) -> set[Path]:
    return set(home.runs.iterdir()) if home.runs.is_dir() else set()


class Striker(threading.Thread):
    """Waits until a new run has trained some steps, then strikes."""

    def __init__(self, home: Home, strike: Callable[[RunDirectory], None], steps: int = 8) -> None:
        super().__init__(daemon=True)
        self.home, self.strike, self.steps = home, strike, steps
        self.before = folders(home)
        self.run_directory: RunDirectory | None = None

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for folder in folders(self.home) - self.before:
                run = RunDirectory(folder / "stage1")
                steps = [event["step"] or 0 for event in run.read_events(0)[0]]
                if max(steps, default=0) >= self.steps:
                    self.run_directory = run
                    self.strike(run)
                    return
            time.sleep(0.1)


def ranks(run: RunDirectory) -> list[int]:
    """Pids of the training processes of a run, found by their command line."""
    token = supervisor.read_json(run.path / "supervisor.json")["token"]
    found = []
    for pid in process_table.members(token):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"cft.training.main" in words and b"accelerate.commands.launch" not in words:
            found.append(pid)
    return sorted(found)


def kill_rank(run: RunDirectory) -> None:
    os.kill(ranks(run)[-1], signal.SIGKILL)


def kill_launcher(run: RunDirectory) -> None:
    os.kill(supervisor.read_json(run.path / "supervisor.json")["child_pid"], signal.SIGKILL)
