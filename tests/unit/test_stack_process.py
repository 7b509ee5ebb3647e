"""One service of the local stack as a process: real ones die, hang, and leave children."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from deployments.stack import process as process_module
from deployments.stack.process import Process
from deployments.stack.services import Service
from tasks.machine.process_table import start_time
from tests.integration.server import free_port
from tests.processes import until

# A server as MLflow's: the port is its child's, and a child that was not told lives on.
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "http.server", sys.argv[1], "--bind", "127.0.0.1"])
print(f"child {child.pid}.", flush=True)
child.wait()
"""


@pytest.mark.parametrize("parent_dies", [False, True])
def test_what_a_server_has_started_ends_before_it_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parent_dies: bool
) -> None:
    monkeypatch.setattr(process_module, "SILENCE", 1.0)
    port = free_port()
    page = f"http://127.0.0.1:{port}/"
    service = Service("pages", (sys.executable, "-c", PARENT, str(port)), dict(os.environ), page,
                      whole=True)  # fmt: skip
    process = Process(service, tmp_path, "token")

    def children() -> list[int]:
        return [int(one) for one in re.findall(r"child (\d+)\.", process.log.read_text())]

    process.start()
    try:
        until(lambda: process.look() or process.state == "well", 30)
        (first,) = children()
        if parent_dies:
            os.kill(process.pid, signal.SIGKILL)
        else:
            os.kill(first, signal.SIGSTOP)
        until(lambda: process.look() or process.restarts == 1, 30)
        until(lambda: process.look() or process.state == "well", 30)
        assert start_time(first) is None, "the old one keeps no port"
        assert process.restarts == 1
        assert start_time(children()[1]) is not None
    finally:
        process.kill()
    until(lambda: start_time(children()[1]) is None)


def test_a_service_that_dies_is_started_again_and_says_why(tmp_path: Path) -> None:
    port = free_port()
    page = f"http://127.0.0.1:{port}/"
    command = ("python3", "-m", "http.server", str(port), "--bind", "127.0.0.1")
    process = Process(Service("pages", command, dict(os.environ), page), tmp_path, "token")
    process.start()
    try:
        until(lambda: process.look() or process.state == "well", 30)
        first = process.pid
        os.kill(first, 9)
        until(lambda: process.look() or process.state == "waiting", 10)
        assert process.said == "killed by signal 9"
        until(lambda: process.look() or process.state == "well", 30)
        assert process.restarts == 1
        assert process.pid not in (None, first)
    finally:
        process.kill()
    process.stopped()
    assert process.state == "stopped"
    assert process.pid is None
    assert "GET /" in process.last_words()


def test_one_that_never_comes_up_waits_longer_each_time(tmp_path: Path) -> None:
    command = ("sh", "-c", "echo 'no such file' >&2; exit 3")
    process = Process(Service("broken", command, dict(os.environ), "http://127.0.0.1:9/"),
                      tmp_path, "token")  # fmt: skip
    process.start()
    until(lambda: process.look() or process.restarts == 1, 10)
    until(lambda: process.look() or process.state == "waiting", 10)
    assert process.said == "ended with 3"
    process.look()
    assert process.restarts == 1, "the second time it waits"
    assert process.last_words() == "no such file\nno such file"
