"""How a host is named in a recipe, and how the lines of its keys are read."""

import base64
import struct

import pytest
from pydantic import ValidationError

from cft.home import Home
from tasks.machine.ssh.errors import HostKeyError
from tasks.machine.ssh.known_hosts import HostKey, KnownHosts, Pin
from tasks.machine.ssh.settings import SshSettings, known_hosts_file


def key(letter: str, kind: str = "ssh-ed25519") -> HostKey:
    return HostKey(kind, struct.pack(">I", len(kind)) + kind.encode() + letter.encode() * 32)


A, B = key("a"), key("b")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", ""), ("host", "-oProxyCommand=x"), ("host", "a b"), ("host", "user@host"),
        ("port", 0), ("port", 70000), ("user", "a:b"), ("user", ""),
        ("passphrase_variable", "with space"), ("channels", 0), ("channels", 7),
        ("connect_seconds", 0), ("host_key", "SHA256:short"), ("host_key", "ssh-ed25519 ???"),
        ("host_key", "ssh-rsa " + A.text.split()[1]), ("unknown", 1),
    ],
)  # fmt: skip
def test_what_is_no_host(field, value) -> None:
    with pytest.raises(ValidationError) as caught:
        SshSettings.model_validate({"host": "gpu", "user": "me"} | {field: value})
    assert [one["loc"][0] for one in caught.value.errors()] == [field]


def test_a_pin_is_a_fingerprint_or_a_whole_line() -> None:
    assert Pin.parse(A.fingerprint) == Pin(A.fingerprint)
    assert Pin.parse(f"{A.text} somebody@host") == Pin(A.fingerprint, "ssh-ed25519")


def test_keys_are_those_of_the_name_and_port(tmp_path) -> None:
    path = tmp_path / "deep" / "known_hosts"
    hosts = KnownHosts(path)
    assert hosts.keys("gpu", 22) == []
    hosts.remember("gpu", 22, A)
    hosts.remember("gpu", 2222, B)
    hosts.remember("gpu", 22, A)
    assert path.read_text() == f"gpu {A.text}\n[gpu]:2222 {B.text}\n"
    assert hosts.keys("gpu", 22) == [A]
    assert hosts.keys("gpu", 2222) == [B]
    assert hosts.keys("gp", 22) == []
    with pytest.raises(HostKeyError, match="remove its line"):
        hosts.remember("gpu", 22, B)


def test_a_file_without_an_end_of_line_is_continued_on_the_next(tmp_path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"# by hand\nother,gpu {A.text}")
    hosts = KnownHosts(path)
    hosts.remember("new", 22, B)
    assert path.read_text() == f"# by hand\nother,gpu {A.text}\nnew {B.text}\n"
    assert hosts.keys("gpu", 22) == [A]


@pytest.mark.parametrize(
    "line",
    [
        "gpu", "gpu ssh-ed25519", "gpu ssh-ed25519 !!!", "gpu ssh-ed25519 AAAA", "@revoked",
        f"gpu ssh-rsa {A.text.split()[1]}", f"@cert-authority gpu {B.text}", "\x00\xff",
        f"|1|abc=|def= {B.text}", f"gpu ssh-ed25519 {base64.b64encode(b'x').decode()}",
    ],
)  # fmt: skip
def test_a_line_that_says_nothing_of_the_host_is_passed_over(tmp_path, line) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"{line}\ngpu {A.text}\n")
    assert KnownHosts(path).keys("gpu", 22) == [A]
    assert KnownHosts(path).revoked() == set()


def test_each_machine_has_a_file_of_its_own(tmp_path) -> None:
    home = Home(tmp_path)
    assert known_hosts_file(home, "a") != known_hosts_file(home, "b")
    assert known_hosts_file(home, "a").is_relative_to(tmp_path)
