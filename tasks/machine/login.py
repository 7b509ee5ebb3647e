"""The system's own ``ssh`` for people: the same host, key and file of host keys as ours."""

import shlex
from pathlib import Path

from cft.errors import CftError
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
    _keep_pin(host, known_hosts)
    words = ["-p", str(host.port)]
    if host.identity is not None:
        words = ["-i", str(host.identity.expanduser()), "-o", "IdentitiesOnly=yes", *words]
    return [
        *words,
        "-o",
        f'UserKnownHostsFile="{known_hosts}"',  # in quotes it may have blanks
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "StrictHostKeyChecking=yes",
    ]


def _keep_pin(host: HostSettings, known_hosts: Path) -> None:
    """Put a pinned key where ``ssh`` looks for it: ours needs no file then."""
    if host.host_key is None:
        return
    pin, file = Pin.parse(host.host_key), KnownHosts(known_hosts)
    if pin.kind is not None:
        file.remember(host.host, host.port, HostKey.parse(*host.host_key.split()[:2]))
    elif pin.fingerprint not in {one.fingerprint for one in file.keys(host.host, host.port)}:
        raise CftError(
            f"host_key: ssh cannot look for {host.host} by a fingerprint alone; give the whole "
            "line 'ssh-ed25519 AAAA...' there"
        )
