"""A server command that runs while a block does."""

import os
import signal
import socket
import subprocess
import tempfile
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
        # A file: a pipe that nobody reads stops a server that has much to say.
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 (closed as the block ends)
        self.process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
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
                    self._end()
                    self.output.seek(0)
                    said = self.output.read().decode(errors="replace")[-3000:]
                    self.output.close()
                    pytest.fail(f"no answer from {self.health}: {said}")
                time.sleep(0.5)
            else:
                return

    def __exit__(self, *_: object) -> None:
        self._end()
        self.output.close()

    def _end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(3)  # open connections can keep one from ending for a minute
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
