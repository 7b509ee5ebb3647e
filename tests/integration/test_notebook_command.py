"""``cft notebook`` as a person runs it: a URL that answers, Ctrl-C, the same again, --stop."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jupyter import Page, end, members
from tests.processes import until
from tests.sshd import Sshd, needs_sshd, running

pytestmark = [
    pytest.mark.integration,
    needs_sshd,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@pytest.fixture
def cft(tmp_path):
    """Starts the verb; whatever lives at the end is ended."""
    started = []

    def begin(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "cft.cli", "notebook", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=tmp_path, env=os.environ | {"CFT_HOME": str(tmp_path / "home")},
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def shown(process: subprocess.Popen[str]) -> Page:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()
    return Page(line)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@pytest.fixture
def machine(server, tmp_path):
    """A file that names the host; the interpreter of the tests serves as its environment."""
    ssh = {
        "host": "127.0.0.1", "port": server.port, "user": server.settings().user,
        "identity": str(server.client_key), "agent": False,
    }  # fmt: skip
    base = tmp_path / "far"
    settings = {"kind": "ssh", "ssh": ssh, "base": str(base), "python": sys.executable}
    (tmp_path / "machine.yaml").write_text(json.dumps(settings))
    yield base
    end(base)


def test_on_a_host_behind_ssh(cft, machine: Path, server) -> None:
    first = cft("--machine", "machine.yaml")
    page = shown(first)
    kernel = page.start_kernel()
    assert page.run(kernel, "6*7") == "42"
    assert page.run(kernel, "import cft.recipe; cft.recipe.__file__").startswith(f"'{machine}/")
    server.kill_sessions()
    until(page.answers, 90)
    first.send_signal(signal.SIGINT)
    code, errors = ended(first)
    assert code == 0
    assert f"serves {machine}/notebooks" in errors
    assert "--machine machine.yaml --stop" in errors
    assert page.token not in errors
    assert not page.answers(), "the tunnel is closed"
    family = members(machine)
    assert len(family) >= 2, "the server and its kernel live on"

    again = cft("--machine", "machine.yaml", "--port", str(page.port))
    assert (same := shown(again)).token == page.token
    assert same.port == page.port
    assert same.run(kernel, "cft.__name__") == "'cft'", "a kernel keeps what it has"
    again.send_signal(signal.SIGINT)
    assert ended(again)[0] == 0

    code, errors = ended(cft("--machine", "machine.yaml", "--stop"))
    assert (code, errors.splitlines()[-1].endswith("the notebook has ended")) == (0, True)
    assert not members(machine)


def test_on_this_machine(cft, tmp_path) -> None:
    (tmp_path / "work").mkdir()
    try:
        first = cft("--machine", "local", "--folder", "work")
        page = shown(first)
        code, errors = ended(first)
        assert code == 0, errors
        assert f"serves {tmp_path}/work" in errors
        assert page.answers(), "it needs no tunnel, so nobody has to wait"
        assert page.run(page.start_kernel(), "6*7") == "42"
        code, errors = ended(cft("--machine", "local", "--port", "1"))
        assert code == 2
        assert f"port: the server runs on {page.port} already" in errors
        assert ended(cft("--machine", "local", "--stop"))[0] == 0
        assert not page.answers()
        assert not members(tmp_path / "home")
        assert "no notebook runs" in ended(cft("--machine", "local", "--stop"))[1]
    finally:
        end(tmp_path / "home")
