"""Commands over a real SSH server: ends, deaths, silences, keys. Each is a trap somebody met."""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from cft.errors import CftError
from tasks.machine.remote import Result
from tasks.machine.ssh.connect import connect
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.errors import SshError, TransientSshError
from tasks.machine.ssh.known_hosts import KnownHosts
from tests.integration.server import free_port
from tests.processes import until
from tests.sshd import Sshd, Wire, needs_sshd, running

pytestmark = [pytest.mark.integration, needs_sshd]

HASTY = {"heartbeat_seconds": 0.5, "dead_seconds": 1.5, "connect_seconds": 5}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"), more=("RekeyLimit 4M",))) as server:
        yield server


@pytest.fixture
def hosts(tmp_path) -> KnownHosts:
    return KnownHosts(tmp_path / "known_hosts")


@pytest.fixture
def here(server, hosts):
    with Connection(server.settings(), hosts) as connection:
        yield connection


@pytest.fixture
def wire(server):
    wire = Wire(server.port)
    yield wire
    wire.close()


def sleeping(mark: Path) -> list[psutil.Process]:
    """Processes that a command left behind, by a file that their command line names."""
    return [
        one for one in psutil.process_iter(["cmdline"]) if str(mark) in (one.info["cmdline"] or [])
    ]


def outlives(mark: Path) -> str:
    """A command that waits long, whose process can be told by ``mark``."""
    return f"exec python3 -c 'import time; time.sleep(120)' {mark}"


def end(mark: Path) -> None:
    for one in sleeping(mark):
        one.kill()


def test_a_command_ends_as_it_ended(here) -> None:
    assert here.run("echo ok; echo no >&2; exit 7") == Result(7, "ok\n", "no\n")
    assert here.run("echo 'रामः'").stdout == "रामः\n"
    assert here.run("printf '\\377'").stdout == "\ufffd"
    assert here.run("no-such-command-here").exit_code == 127
    assert here.run("true").ok


def test_both_streams_are_drained(here) -> None:
    """Five megabytes on one stream while the other is read would stop the command for ever."""
    both = here.run("head -c 5000000 /dev/zero >&2; head -c 5000000 /dev/zero | tr '\\0' x")
    assert (both.exit_code, len(both.stdout), len(both.stderr)) == (0, 5_000_000, 5_000_000)


def test_stdin_arrives_whole_and_need_not_be_read(here) -> None:
    data = os.urandom(9_000_000)  # more than twice the server's limit for one set of keys
    assert here.run("cat | wc -c", stdin=data).stdout.strip() == "9000000"
    assert here.run("head -c 3", stdin=b"abcdef" * 1_000_000) == Result(0, "abc")
    assert here.run("cat") == Result(0), "without stdin there is nothing to wait for"


def test_a_command_that_a_signal_ended_is_not_taken_for_a_failed_one(here) -> None:
    assert here.run("echo before; kill -9 $$") == Result(None, "before\n")


def test_a_time_out_is_kept_and_the_command_goes_on(here, tmp_path) -> None:
    mark = tmp_path / "late"
    begun = time.monotonic()
    assert here.run(outlives(mark), timeout=3).exit_code is None
    assert time.monotonic() - begun < 30
    assert sleeping(mark)
    end(mark)
    assert here.run("echo on").stdout == "on\n"


def test_a_session_killed_over_there_leaves_the_command_alive(server, here, tmp_path) -> None:
    mark = tmp_path / "orphan"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(here.run, outlives(mark), timeout=100)
        until(lambda: sleeping(mark), 60)
        assert server.kill_sessions()
        assert waiting.result(60).exit_code is None
    assert sleeping(mark), "unknown is not failed: it lives"
    end(mark)
    assert here.run("echo again").stdout == "again\n", "the next command connects anew"


def test_silence_is_noticed(server, hosts, wire, tmp_path) -> None:
    """Nothing arrives and nothing is refused: by itself the wait would last for ever."""
    mark = tmp_path / "silent"
    with (
        Connection(server.settings(port=wire.port, **HASTY), hosts) as there,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(there.run, outlives(mark), timeout=300)
        until(lambda: sleeping(mark), 60)
        time.sleep(4)  # longer than silence may last: a living host answers
        assert not waiting.done()
        wire.silence()
        assert waiting.result(60).exit_code is None
        wire.resume()
        assert there.run("echo back", timeout=60).stdout == "back\n"
    end(mark)


def test_silence_is_noticed_behind_a_full_buffer(server, hosts, wire) -> None:
    """The question for a sign stands in the queue of what cannot be sent."""
    with (
        Connection(server.settings(port=wire.port, **HASTY), hosts) as there,
        ThreadPoolExecutor(1) as pool,
    ):
        assert there.run("true").ok
        waiting = pool.submit(
            there.run, "sleep 1; cat > /dev/null", timeout=300, stdin=bytes(80_000_000)
        )
        time.sleep(0.5)
        wire.silence()
        assert waiting.result(60).exit_code is None


def test_a_silent_door_is_not_waited_for(server, hosts, wire) -> None:
    wire.silence()
    with pytest.raises(TransientSshError, match="no SSH handshake within 1 s"):
        connect(server.settings(port=wire.port, connect_seconds=1), hosts)
    mute = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(TransientSshError, match="handshake"):
        connect(server.settings(port=mute.getsockname()[1], connect_seconds=1), hosts)
    mute.close()


def test_more_threads_than_channels(hosts, tmp_path) -> None:
    with (
        running(Sshd(tmp_path / "narrow", more=("MaxSessions 6",))) as narrow,
        Connection(narrow.settings(), hosts) as there,
        ThreadPoolExecutor(14) as pool,
    ):
        results = list(pool.map(lambda n: there.run(f"sleep 0.2; echo {n}"), range(14)))
    assert [one.stdout for one in results] == [f"{n}\n" for n in range(14)]


def test_fewer_sessions_than_we_would_take_are_waited_for(hosts, tmp_path) -> None:
    with (
        running(Sshd(tmp_path / "one", more=("MaxSessions 1",))) as one,
        Connection(one.settings(), hosts) as there,
        ThreadPoolExecutor(3) as pool,
    ):
        results = list(pool.map(lambda n: there.run(f"echo {n}"), range(3)))
    assert results == [Result(0, f"{n}\n") for n in range(3)]


def test_no_session_at_all_is_an_answer_in_time(hosts, tmp_path) -> None:
    with (
        running(Sshd(tmp_path / "none", more=("MaxSessions 0",))) as none,
        Connection(none.settings(), hosts) as there,
    ):
        answer = there.run("true", timeout=5)
    assert answer.exit_code is None
    assert "no session" in answer.stderr


def test_it_waits_for_a_host_that_comes_up(hosts, tmp_path) -> None:
    late = Sshd(tmp_path / "late")
    failures: list[int] = []
    with (
        Connection(late.settings(), hosts, on_failure=failures.append) as there,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(there.run, "echo up", timeout=120)
        until(lambda: len(failures) >= 2, 60)
        with running(late):
            assert waiting.result(150) == Result(0, "up\n")
    assert failures == list(range(1, len(failures) + 1))


def test_who_rents_the_host_may_end_the_waiting(hosts, tmp_path) -> None:
    class GoneError(CftError):
        pass

    def ask(failures: int) -> None:
        if failures == 3:
            raise GoneError("the machine is gone")

    away = Sshd(tmp_path / "away")
    with Connection(away.settings(), hosts, on_failure=ask) as there, pytest.raises(GoneError):
        there.run("true", timeout=600)


def test_closing_frees_who_waits(here, tmp_path) -> None:
    mark = tmp_path / "closed"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(here.run, outlives(mark), timeout=300)
        until(lambda: sleeping(mark), 60)
        here.close()
        assert waiting.result(30).exit_code is None
    end(mark)
    assert "closed" in here.run("true").stderr


def test_small_packets_are_not_held_back(here) -> None:
    assert here.run("true").ok
    wire = here._link._wire  # the only place where it can be seen
    assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert here._link.transport.remote_cipher.endswith("gcm@openssh.com")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"port": free_port()}, TransientSshError, "Connection refused"),
        ({"host": "no-such-host.invalid"}, SshError, "no such host"),
    ],
)
def test_a_host_that_is_not_there(server, hosts, changes, kind, message) -> None:
    with pytest.raises(SshError, match=message) as caught:
        connect(server.settings(**changes), hosts)
    # Without any network the name service itself is what is away.
    assert isinstance(caught.value, kind) or "Temporary" in str(caught.value)


def test_another_kind_of_server(server, hosts) -> None:
    web = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        near, _ = web.accept()
        near.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        near.close()

    threading.Thread(target=serve, daemon=True).start()
    with pytest.raises(TransientSshError, match=f"127.0.0.1:{web.getsockname()[1]}: "):
        connect(server.settings(port=web.getsockname()[1], connect_seconds=3), hosts)
    web.close()


def test_nothing_is_left_running(server, hosts) -> None:
    for _ in range(3):
        with Connection(server.settings(), hosts) as there:
            assert there.run("true").ok
    until(lambda: not server.sessions(), 30)
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("cft-ssh")], 30)
