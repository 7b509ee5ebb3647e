"""Helpers of the tests that start and kill real processes."""

import time
from pathlib import Path

# A launcher whose worker sits in a session of its own, as the ranks of a distributed launcher do.
LAUNCHER = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                          start_new_session=True)
print("worker", worker.pid, flush=True)
time.sleep(600)
"""


def until(condition, seconds: float = 10.0):
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        if value := condition():
            return value
        time.sleep(min(0.5, max(0.02, (time.monotonic() - began) / 20)))  # many ask all processes
    raise AssertionError("it did not happen in time")


def worker_of(run: Path) -> int:
    def printed():
        logs = list(run.glob("train-*.log"))
        words = logs[0].read_text(encoding="utf-8").split() if logs else []
        return int(words[1]) if len(words) == 2 else None

    return until(printed)
