"""Files to a real SSH server and back, through a wire that is cut and falls silent."""

import hashlib
import random
import threading
import time

import pytest

from cft.errors import CftError
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.transfer import client, far_end
from tasks.machine.transfer.client import pull, push
from tasks.machine.transfer.names import PARTS, listing
from tests.processes import until
from tests.sshd import Sshd, Wire, needs_sshd, running

pytestmark = [pytest.mark.integration, needs_sshd]

HASTY = {"heartbeat_seconds": 0.5, "dead_seconds": 1.5}
SIZE = 30_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@pytest.fixture
def wire(server):
    wire = Wire(server.port)
    yield wire
    wire.close()


@pytest.fixture
def there(server, wire, tmp_path):
    settings = server.settings(port=wire.port, **HASTY)
    with Connection(settings, KnownHosts(tmp_path / "known_hosts")) as connection:
        yield connection


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    folder = tmp_path_factory.mktemp("big")
    (folder / "adapter.bin").write_bytes(random.Random(0).randbytes(SIZE))
    return folder


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_there_and_back_and_nothing_twice(there, tmp_path) -> None:
    source = tmp_path / "from"
    for number in range(300):
        path = source / f"{number % 7}" / f"रामः {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number % 256]) * number)
    first = push(there, source, f"{tmp_path}/far")
    assert (len(first.files), first.size) == (300, sum(range(300)))
    assert push(there, source, f"{tmp_path}/far").sent < 100_000, "names and hashes alone"
    back = pull(there, f"{tmp_path}/far", tmp_path / "back")
    assert set(back.files) == set(first.files)
    for name in back.files:
        assert (tmp_path / "back" / name).read_bytes() == (source / name).read_bytes()
    assert not list(tmp_path.rglob(PARTS))
    some = pull(there, f"{tmp_path}/far", tmp_path / "some", ["0", "no such", "3/रामः 3"])
    assert {name.split("/")[0] for name in some.files} == {"0", "3"}
    assert len(some.files) == 44


@pytest.mark.parametrize("how", ["cut", "killed"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_broken_off_in_the_middle(there, wire, server, big, tmp_path, how, way) -> None:
    """What has arrived is not sent again, and the result is the same."""
    assert there.run("true").ok
    wire.carried = 0
    if how == "cut":
        wire.cut_after = 20_000_000
    else:

        def kill_in_the_middle() -> None:
            until(lambda: wire.carried > 15_000_000, 60)
            server.kill_sessions()

        threading.Thread(target=kill_in_the_middle, daemon=True).start()
    if way == "up":
        done = push(there, big, f"{tmp_path}/far")
        arrived = tmp_path / "far" / "adapter.bin"
    else:
        done = pull(there, str(big), tmp_path / "near")
        arrived = tmp_path / "near" / "adapter.bin"
    assert sha(arrived) == sha(big / "adapter.bin")
    assert done.files == ("adapter.bin",)
    assert wire.carried > SIZE
    assert done.sent < SIZE + 8_000_000, "no more than what was under way is sent twice"


def test_silence_in_the_middle(there, wire, big, tmp_path, monkeypatch) -> None:
    """The host's end waits for the rest; it has to give up before another may go on."""
    monkeypatch.setattr(far_end, "IDLE", 3.0)
    wire.carried = 0

    def fall_silent() -> None:
        until(lambda: wire.carried > 10_000_000, 60)
        wire.silence()
        time.sleep(4)
        wire.resume()

    thread = threading.Thread(target=fall_silent, daemon=True)
    thread.start()
    done = push(there, big, f"{tmp_path}/far")
    thread.join()
    assert sha(tmp_path / "far" / "adapter.bin") == sha(big / "adapter.bin")
    assert done.sent < SIZE + 8_000_000


def test_nothing_moves_any_more(there, wire, big, tmp_path) -> None:
    assert there.run("true").ok
    wire.carried = 0

    def fall_silent() -> None:
        until(lambda: wire.carried > 10_000_000, 60)
        wire.silence()

    threading.Thread(target=fall_silent, daemon=True).start()
    with pytest.raises(CftError, match=r"nothing moved for 4 s .*run again"):
        pull(there, str(big), tmp_path / "near", stalled=4)
    assert not (tmp_path / "near" / "adapter.bin").exists()
    wire.resume()
    done = pull(there, str(big), tmp_path / "near")
    assert done.sent < SIZE - 3_000_000, "another process goes on where that one stopped"
    assert sha(tmp_path / "near" / "adapter.bin") == sha(big / "adapter.bin")


def test_what_the_host_cannot_do_is_said_and_not_tried_again(there, tmp_path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a").write_text("a")
    (tmp_path / "far" / "a").mkdir(parents=True)
    with pytest.raises(CftError, match=r"Is a directory: .*far/a'"):
        push(there, tmp_path / "from", f"{tmp_path}/far")
    (tmp_path / "file").write_text("")
    with pytest.raises(CftError, match=r"(File exists|Not a directory): .*file"):
        push(there, tmp_path / "from", f"{tmp_path}/file")
    with pytest.raises(CftError, match="no such file; nothing was sent"):
        push(there, tmp_path / "from", f"{tmp_path}/far", ["a", "b"])
    (tmp_path / "near" / "a").mkdir(parents=True)
    with pytest.raises(CftError, match=r"near/a: Is a directory"):
        pull(there, str(tmp_path / "from"), tmp_path / "near")
    assert pull(there, f"{tmp_path}/nowhere", tmp_path / "empty").files == ()


def test_a_file_that_changes_all_the_time(there, tmp_path) -> None:
    source = tmp_path / "from"
    source.mkdir()
    (source / "status").write_text("x" * 10)

    def outdated(root, names=None):
        return [one | {"size": one["size"] + 1} for one in listing(root, names)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "listing", outdated)
        with pytest.raises(CftError, match="status: changed or vanished while it was sent"):
            push(there, source, f"{tmp_path}/far")
    assert not (tmp_path / "far" / "status").exists()


def test_a_host_that_greets(tmp_path) -> None:
    """What a shell's start-up files print comes before everything else."""
    greeting = 'ForceCommand echo "Welcome {[ to GPU-1"; eval "$SSH_ORIGINAL_COMMAND"'
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a").write_text("a")
    with (
        running(Sshd(tmp_path / "sshd", more=(greeting,))) as server,
        Connection(server.settings(), KnownHosts(tmp_path / "hosts")) as there,
    ):
        assert there.run("echo x").stdout.startswith("Welcome")
        push(there, tmp_path / "from", f"{tmp_path}/far")
        pull(there, f"{tmp_path}/far", tmp_path / "back")
    assert (tmp_path / "back" / "a").read_text() == "a"


def test_a_host_without_python(tmp_path) -> None:
    nothing = 'ForceCommand PATH=/nowhere; eval "$SSH_ORIGINAL_COMMAND"'
    (tmp_path / "from").mkdir()
    with (
        running(Sshd(tmp_path / "sshd", more=(nothing,))) as server,
        Connection(server.settings(), KnownHosts(tmp_path / "hosts")) as there,
        pytest.raises(CftError, match="install Python"),
    ):
        push(there, tmp_path / "from", f"{tmp_path}/far")


def test_two_that_push_into_one_folder(there, big, tmp_path) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            push(there, big, f"{tmp_path}/far")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not failed
    assert sha(tmp_path / "far" / "adapter.bin") == sha(big / "adapter.bin")
