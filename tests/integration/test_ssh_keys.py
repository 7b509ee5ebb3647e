"""Who the host is and who we are: every way in which a key can be wrong says so and what to do."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.machine.ssh.connect import connect
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.errors import (
    AuthenticationError,
    HostKeyError,
    SshError,
    TransientSshError,
)
from tasks.machine.ssh.known_hosts import KnownHosts
from tests.integration.server import free_port
from tests.processes import until
from tests.sshd import Sshd, Wire, fingerprint, keygen, needs_sshd, public, running

pytestmark = [pytest.mark.integration, needs_sshd]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"), kinds=("ed25519", "rsa"))) as server:
        yield server


@pytest.fixture
def hosts(tmp_path) -> KnownHosts:
    return KnownHosts(tmp_path / "known_hosts")


def refused(settings, hosts, kind=AuthenticationError) -> str:
    """The error of a connection that must fail, as text of one line."""
    with pytest.raises(SshError) as caught:
        connect(settings, hosts).close()
    assert type(caught.value) is kind, caught.value
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The host's key.


def test_the_first_key_is_kept_and_every_other_refused(server, hosts, tmp_path) -> None:
    connect(server.settings(), hosts).close()
    (line,) = hosts.path.read_text().splitlines()
    assert line == f"[127.0.0.1]:{server.port} {public(server.host_keys[0])}"
    connect(server.settings(), hosts).close()
    assert hosts.path.read_text().splitlines() == [line]
    other = keygen(tmp_path / "other")
    hosts.path.write_text(f"[127.0.0.1]:{server.port} {public(other)}\n")
    said = refused(server.settings(), hosts, HostKeyError)
    assert fingerprint(other) in said
    assert fingerprint(server.host_keys[0]) in said
    assert str(hosts.path) in said
    assert public(other) in hosts.path.read_text(), "the file stays as it was"


def test_two_first_connections_at_once_keep_one_line(server, hosts) -> None:
    with ThreadPoolExecutor(4) as pool:
        for link in pool.map(lambda _: connect(server.settings(), hosts), range(4)):
            link.close()
    assert len(hosts.path.read_text().splitlines()) == 1


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("whole", [True, False])
def test_a_pinned_key(server, hosts, which, whole) -> None:
    key = server.host_keys[which]
    pin = public(key) if whole else fingerprint(key)
    if which == 1 and not whole:
        # A fingerprint does not tell the kind, so the host shows what it likes best.
        assert "change host_key" in refused(server.settings(host_key=pin), hosts, HostKeyError)
    else:
        connect(server.settings(host_key=pin), hosts).close()
    assert not hosts.path.exists()


def test_a_pin_is_not_weakened_by_what_was_seen_before(server, hosts, tmp_path) -> None:
    connect(server.settings(), hosts).close()
    pin = fingerprint(keygen(tmp_path / "other"))
    assert pin in refused(server.settings(host_key=pin), hosts, HostKeyError)


def test_only_the_rsa_key_is_known_of_a_host_that_has_more(server, hosts) -> None:
    hosts.path.write_text(f"[127.0.0.1]:{server.port} {public(server.host_keys[1])}\n")
    connect(server.settings(), hosts).close()


def test_lines_of_others_are_passed_over_but_a_revoked_key_is_not(server, hosts) -> None:
    name, key = f"[127.0.0.1]:{server.port}", public(server.host_keys[0])
    foreign = f"@cert-authority *.example {key}\n|1|abc=|def= {key}\n# a comment\nnonsense\n\n"
    hosts.path.write_text(foreign + "h ssh-dss AAAAB3NzaC1kc3M=\n")
    connect(server.settings(), hosts).close()
    hosts.path.write_text(f"{name} {key}\n@revoked * {key}\n")
    assert "revoked" in refused(server.settings(), hosts, HostKeyError)
    assert "revoked" in refused(server.settings(host_key=key), hosts, HostKeyError)


def test_a_host_key_error_is_not_waited_out(server, hosts, tmp_path) -> None:
    hosts.path.write_text(f"[127.0.0.1]:{server.port} {public(keygen(tmp_path / 'other'))}\n")
    with Connection(server.settings(), hosts) as there, pytest.raises(HostKeyError):
        there.run("true", timeout=600)


# Our keys.


def test_a_key_that_the_host_does_not_know(server, hosts, tmp_path) -> None:
    stranger = keygen(tmp_path / "stranger")
    said = refused(server.settings(identity=stranger), hosts)
    assert fingerprint(stranger) in said
    assert "authorized_keys" in said


def test_a_user_that_does_not_exist(server, hosts) -> None:
    assert "check user and identity" in refused(server.settings(user="nobody-here"), hosts)


def test_files_that_are_no_usable_keys(server, hosts, tmp_path) -> None:
    assert "no such key file" in refused(server.settings(identity=tmp_path / "none"), hosts)
    (tmp_path / "text").write_text("not a key\n")
    assert "not a private key" in refused(server.settings(identity=tmp_path / "text"), hosts)
    half = server.client_key.read_bytes()
    (tmp_path / "half").write_bytes(half[: len(half) // 2])
    assert "not a private key" in refused(server.settings(identity=tmp_path / "half"), hosts)
    assert "cannot be read" in refused(server.settings(identity=tmp_path), hosts)


@pytest.fixture
def locked_key(server, tmp_path):
    """A key with a passphrase that the host knows, for one test."""
    before = server.authorized.read_text()
    key = keygen(tmp_path / "locked", passphrase="open sesame")
    server.authorized.write_text(before + public(key) + "\n")
    yield key
    server.authorized.write_text(before)


def test_a_passphrase(server, hosts, locked_key, monkeypatch, caplog) -> None:
    caplog.set_level("DEBUG")
    said = refused(server.settings(identity=locked_key), hosts)
    assert "encrypted" in said
    assert "passphrase_variable" in said
    asks = server.settings(identity=locked_key, passphrase_variable="CFT_TEST_PHRASE")
    monkeypatch.delenv("CFT_TEST_PHRASE", raising=False)
    assert "CFT_TEST_PHRASE, which is not set" in refused(asks, hosts)
    monkeypatch.setenv("CFT_TEST_PHRASE", "open barley")
    said = refused(asks, hosts)
    assert "does not open this key" in said
    assert "barley" not in said
    monkeypatch.setenv("CFT_TEST_PHRASE", "open sesame")
    connect(asks, hosts).close()
    assert "sesame" not in caplog.text
    assert "barley" not in caplog.text


def test_a_passphrase_for_a_key_that_has_none(server, hosts, monkeypatch) -> None:
    monkeypatch.setenv("CFT_TEST_PHRASE", "not needed")
    connect(server.settings(passphrase_variable="CFT_TEST_PHRASE"), hosts).close()


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """An agent of this test's own; returns what adds a key to it."""
    place = tmp_path / "agent.socket"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(place)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not place.exists():
        assert process.poll() is None
    monkeypatch.setenv("SSH_AUTH_SOCK", str(place))

    def add(key, passphrase=""):
        ask = tmp_path / "ask"
        ask.write_text(f"#!/bin/sh\necho '{passphrase}'\n")
        ask.chmod(0o700)
        subprocess.run(
            ["ssh-add", "-q", str(key)], check=True, stdin=subprocess.DEVNULL,
            env=os.environ | {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"},
        )  # fmt: skip

    yield add
    process.kill()
    process.wait()


def test_the_agent(server, hosts, agent) -> None:
    asks = server.settings(identity=None, agent=True)
    assert "ssh-add" in refused(asks, hosts)
    agent(server.client_key)
    connect(asks, hosts).close()
    assert "set identity" in refused(server.settings(identity=None, agent=False), hosts)


def test_the_agent_opens_an_encrypted_file(server, hosts, agent, locked_key, tmp_path) -> None:
    agent(keygen(tmp_path / "another"))
    agent(locked_key, "open sesame")
    connect(server.settings(identity=locked_key, agent=True), hosts).close()


def test_a_configured_key_is_the_only_one_shown(server, hosts, agent, tmp_path) -> None:
    """Seven strangers in the agent would use up the host's patience before it is its turn."""
    for number in range(7):
        agent(keygen(tmp_path / f"stranger{number}"))
    connect(server.settings(agent=True), hosts).close()
    said = refused(server.settings(identity=None, agent=True), hosts)
    assert said.count("SHA256:") == 5, "and of many keys no more are shown than it bears"


def test_a_host_that_wants_something_else(hosts, tmp_path) -> None:
    with running(Sshd(tmp_path / "no-keys", more=("PubkeyAuthentication no",))) as other:
        said = refused(other.settings(), hosts)
    assert "the host" in said
    more = ("AuthenticationMethods publickey,password", "PasswordAuthentication yes")
    with running(Sshd(tmp_path / "two", more=more)) as other:
        assert "after the key the host wants password" in refused(other.settings(), hosts)


def test_authentication_is_not_waited_out(server, hosts, tmp_path) -> None:
    settings = server.settings(identity=keygen(tmp_path / "stranger"))
    with Connection(settings, hosts) as there, pytest.raises(AuthenticationError):
        there.run("true", timeout=600)


# A host in between.


@pytest.fixture(scope="module")
def middle(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("jump"))) as server:
        yield server


def through(server, middle, **changes):
    jump = middle.settings().model_dump(include={"host", "port", "user", "identity", "agent"})
    return server.settings(jump=jump | changes)


def test_through_another_host(server, middle, hosts, tmp_path) -> None:
    before = KnownHosts(tmp_path / "of_the_jump")
    with Connection(through(server, middle), hosts, before) as there:
        assert there.run("echo far").stdout == "far\n"
        assert there.run("cat | wc -c", stdin=bytes(3_000_000)).stdout.strip() == "3000000"
        assert middle.kill_sessions()
        assert there.run("echo again", timeout=60).stdout == "again\n"
    assert str(server.port) in hosts.path.read_text()
    assert str(middle.port) in before.path.read_text()


def test_silence_in_between_is_noticed(server, middle, hosts, tmp_path) -> None:
    wire = Wire(middle.port)
    settings = through(server, middle, port=wire.port).model_copy(
        update={"heartbeat_seconds": 0.5, "dead_seconds": 1.5}
    )
    with Connection(settings, hosts) as there, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(there.run, f"touch {tmp_path}/on; sleep 100", timeout=300)
        until((tmp_path / "on").exists, 60)
        wire.silence()
        assert waiting.result(60).exit_code is None
    wire.close()


def test_errors_name_the_host_that_they_are_of(server, middle, hosts, tmp_path) -> None:
    stranger = keygen(tmp_path / "stranger")
    said = refused(through(server, middle, identity=stranger), hosts)
    assert f":{middle.port}: the host refused" in said
    gone = through(server, middle).model_copy(update={"port": free_port()})
    said = refused(gone, hosts, TransientSshError)
    assert f":{middle.port}: does not lead to 127.0.0.1:{gone.port}" in said
    with running(Sshd(tmp_path / "strict", more=("AllowTcpForwarding no",))) as strict:
        said = refused(through(server, strict), hosts, SshError)
    assert "AllowTcpForwarding" in said
