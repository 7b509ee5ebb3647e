"""The system's own ``ssh`` for people: the same host, key and file of host keys as ours."""

import shlex
from pathlib import Path

from cft.errors import CftError
from cft.files import digest_json
from tasks.machine.host import Host
from tasks.machine.ssh.known_hosts import HostKey, KnownHosts, Pin
from tasks.machine.ssh.settings import HostSettings
from tasks.machine.step_host import TMUX


def ssh_words(host: Host) -> list[str]:
    """The words that log in to a host; what follows them is run there.

    A host whose key is not known yet is refused: it is kept by the first connection of ours.

    Raises:
        CftError: the host's key is pinned by its fingerprint alone, which ``ssh`` cannot use.
    """
    words = ["ssh", *_options(host.ssh, host.known_hosts)]
    if host.ssh.jump is not None:
        # -J would take the first host's key for the other one as well.
        before = ["ssh", *_options(host.ssh.jump, host.known_hosts), "-W", "%h:%p"]
        words += ["-o", f"ProxyCommand={shlex.join([*before, _place(host.ssh.jump)])}"]
    return [*words, _place(host.ssh)]


def attach_words(host: Host, session: str) -> list[str]:
    """The words that look at a job's tmux session, without a hand on it.

    Args:
        host: where it runs.
        session: name of the session.

    Raises:
        CftError: as of :func:`ssh_words`.
    """
    words = ssh_words(host)
    # Quoted by hand: to some shells a word that begins with = is a path to be looked up.
    there = f"tmux {shlex.join(TMUX[:2])} attach -r -t '={session}'"
    return ["ssh", "-t", *words[1:], there]


def _place(host: HostSettings) -> str:
    return f"{host.user}@{host.host}"


def _options(host: HostSettings, known_hosts: Path) -> list[str]:
    words = ["-p", str(host.port)]
    if host.identity is not None:
        words = ["-i", str(host.identity.expanduser()), "-o", "IdentitiesOnly=yes", *words]
    return [
        *words,
        "-o",
        f'UserKnownHostsFile="{_keys_of(host, known_hosts)}"',  # in quotes it may have blanks
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "StrictHostKeyChecking=yes",
    ]


def _keys_of(host: HostSettings, known_hosts: Path) -> Path:
    """The file in which ``ssh`` finds the host's key; for a pinned one, which we need in none, one
    of its own, since another machine at this address may have been known before."""
    if host.host_key is None:
        return known_hosts
    pin = Pin.parse(host.host_key)
    if pin.kind is None:
        if pin.fingerprint in {
            one.fingerprint for one in KnownHosts(known_hosts).keys(host.host, host.port)
        }:
            return known_hosts
        raise CftError(
            f"host_key: ssh cannot look for {host.host} by a fingerprint alone; give the whole "
            "line 'ssh-ed25519 AAAA...' there"
        )
    file = known_hosts.with_name(f"pinned-{digest_json(pin.fingerprint)}")
    KnownHosts(file).remember(host.host, host.port, HostKey.parse(*host.host_key.split()[:2]))
    return file
