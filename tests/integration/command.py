"""Run a command as a user would and keep what it printed, how long it took and what it held."""

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Ended:
    """A finished command."""

    code: int
    output: str
    seconds: float
    peak_bytes: int  # of the whole process tree: proportional set size, shared pages counted once


def _tree_bytes(pid: int) -> int:
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            continue
    return total


def run(command: str, cwd: Path, env: dict[str, str], timeout: float = 1400) -> Ended:
    """Run ``command`` in a shell; stdout and stderr together. Kills the whole group on time-out."""
    started = time.monotonic()
    peak, measured = 0, started
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            if time.monotonic() - started > timeout:
                raise TimeoutError(f"{command}: still running after {timeout} s: {lines[-20:]}")
            if time.monotonic() > measured + 2:  # reading what is shared takes the kernel a while
                peak, measured = max(peak, _tree_bytes(process.pid)), time.monotonic()
            time.sleep(0.1)
        reader.join(10)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return Ended(process.returncode, "".join(lines), time.monotonic() - started, peak)
