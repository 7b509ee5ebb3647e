"""A real JupyterLab behind a real SSH server: its kernels, its token, its attaching and its end."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from cft.errors import CftError
from tasks.machine import process_table
from tasks.machine.notebook import notebook_at, start_notebook, stop_notebook
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.ssh.tunnel import Tunnel
from tests.jupyter import Page, end, has_session, job, members, panes
from tests.processes import until
from tests.sshd import Sshd, Wire, needs_sshd, running

pytestmark = [
    pytest.mark.integration,
    needs_sshd,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@pytest.fixture(scope="module")
def wire(server):
    wire = Wire(server.port)
    yield wire
    wire.close()


@pytest.fixture(scope="module")
def there(server, wire, tmp_path_factory):
    settings = server.settings(port=wire.port, heartbeat_seconds=1, dead_seconds=4)
    hosts = KnownHosts(tmp_path_factory.mktemp("known") / "hosts")
    with Connection(settings, hosts) as connection:
        yield connection


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("far")
    yield base
    end(base)


def start(there, base, **options):
    options = {"python": sys.executable, "root": str(base / "notebooks")} | options
    return start_notebook(there, str(base), **options)


@pytest.fixture(scope="module")
def both(there, base):
    """What two that start it at the same moment get."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda _: start(there, base, code=str(base)), range(2)))


@pytest.fixture(scope="module")
def notebook(both):
    return both[0]


@pytest.fixture
def page(there, notebook):
    with Tunnel(there, notebook.port) as tunnel:
        yield Page(notebook.url(tunnel.local_port))


def test_starting_twice_gives_one_server(there, base, both) -> None:
    one, two = both
    assert {one.attached, two.attached} == {True, False}
    again = start(there, base, root="/elsewhere", python="/nowhere")
    assert again.attached
    for other in (two, again, notebook_at(there, str(base))):
        assert (other.pid, other.port, other.token) == (one.pid, one.port, one.token)
        assert other.root == str(base / "notebooks"), "what it serves, not what was asked for now"
    assert one.token not in repr(one)


def test_a_kernel_answers_through_the_tunnel_and_only_with_the_token(page, base) -> None:
    assert page.ask("/api/status")[0] == 403
    assert page.ask("/api/status", "x" * 43)[0] == 403
    assert page.ask("/api/kernels", data=b"{}")[0] == 403
    assert page.ask("/api/status", page.token)[0] == 200
    assert page.ask(f"/lab?token={page.token}")[0] == 200
    (base / "from_our_code.py").write_text("ANSWER = 42\n")
    kernel = page.start_kernel()
    assert page.run(kernel, "6*7") == "42"
    assert page.run(kernel, "import from_our_code as code; code.ANSWER") == "42"
    assert page.run(kernel, "import os; os.getcwd()") == repr(str(base / "notebooks"))


def test_the_token_lies_in_files_of_the_user_alone(there, page, base, notebook, caplog) -> None:
    caplog.set_level("DEBUG")
    assert start(there, base).token == page.token
    page.start_kernel()
    secret = page.token.encode()
    holders = []
    for path in base.rglob("*"):
        if path.is_file() and secret in path.read_bytes():
            holders.append(path.relative_to(base / "notebook").as_posix())
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert sorted(holders) == [f"runtime/jpserver-{notebook.pid}.json", "token"]
    assert list(base.glob("notebook/train-*.log")), "there is a log, and it was looked into"
    assert "running at" in (shown := panes(notebook.session))
    assert page.token not in shown + caplog.text
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                assert secret not in (process / name).read_bytes(), process
            except (OSError, ProcessLookupError):
                continue  # it ended meanwhile


def test_nobody_comes_in_from_outside(page, base, notebook) -> None:
    page.start_kernel()
    addresses = {
        (pid, one.laddr.ip)
        for pid in members(base)
        for one in psutil.Process(pid).net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    }
    assert (notebook.pid, "127.0.0.1") in addresses
    assert {ip for _, ip in addresses} == {"127.0.0.1"}


@pytest.mark.parametrize("how", ["killed", "cut"])
def test_the_url_lives_on_when_the_connection_dies(page, server, wire, how) -> None:
    kernel = page.start_kernel()
    assert page.answers()
    if how == "killed":
        assert server.kill_sessions()
    else:
        wire.cut()
    until(page.answers, 90)
    assert page.run(kernel, "6*7") == "42"


def test_stopping_ends_every_process_even_without_a_supervisor(there, tmp_path) -> None:
    try:
        assert not stop_notebook(there, str(tmp_path)), "there is none"
        first = start(there, tmp_path)
        with Tunnel(there, first.port) as tunnel:
            page = Page(first.url(tunnel.local_port))
            page.run(page.start_kernel(), "import subprocess as s; s.Popen(['sleep', '600']).pid")
        os.kill(job(tmp_path)["pid"], signal.SIGKILL)
        assert notebook_at(there, str(tmp_path)).pid == first.pid
        family = members(tmp_path)
        assert len(family) >= 3, "the server, a kernel and what it started"
        assert stop_notebook(there, str(tmp_path))
        assert not any(process_table.start_time(pid) for pid in family), "a zombie has no start"
        assert notebook_at(there, str(tmp_path)) is None
        assert not (tmp_path / "notebook" / "token").exists()
        assert not has_session(first.session)
    finally:
        end(tmp_path)


def test_a_server_that_cannot_start_says_why(there, tmp_path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    with pytest.raises(CftError, match=r"bare/bin/python has no jupyterlab; install it there \("):
        start(there, tmp_path, python=str(bare / "bin" / "python"))
    with pytest.raises(CftError, match="/no/python does not run there"):
        start(there, tmp_path, python="/no/python")
    assert not (tmp_path / "notebook").exists()
    (tmp_path / "file").write_text("")
    try:
        with pytest.raises(CftError, match=r"ended at its start .*Error: .*; mend that there"):
            start(there, tmp_path, root=str(tmp_path / "file"))
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(CftError, match=f"port {port} is taken there"):
                start(there, tmp_path, port=port)
    finally:
        end(tmp_path)
