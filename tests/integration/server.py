"""A server command that runs while a block does."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


class serving:  # noqa: N801 (reads as a verb)
    """Run a server command until its health page answers; end its whole group afterwards."""

    def __init__(self, command: str, cwd: Path, env: dict[str, str], health: str) -> None:
        self.process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.health = health

    def __enter__(self) -> None:
        deadline = time.monotonic() + 180
        while True:
            try:
                get(self.health)
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    assert self.process.stdout is not None
                    pytest.fail(self.process.stdout.read().decode()[-3000:])
                time.sleep(0.5)
            else:
                return

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
