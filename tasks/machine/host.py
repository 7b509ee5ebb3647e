"""A host that can be reached again by any process: plain data, and the connection made from it."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cft.home import Home
from tasks.machine.settings import MachineSettings
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.ssh.settings import SshSettings, known_hosts_file

logger = logging.getLogger("cft.machine")


@dataclass(frozen=True)
class Host:
    """How a host is reached.

    Attributes:
        name: of the machine, in file names and for persons.
        ssh: who and where.
        known_hosts: file that keeps its key.
    """

    name: str
    ssh: SshSettings
    known_hosts: Path

    def connect(self, on_failure: Callable[[int], None] | None = None) -> Connection:
        """A connection, which the caller closes; it is made on first use.

        Args:
            on_failure: as of :class:`~tasks.machine.ssh.connection.Connection`.
        """
        return Connection(self.ssh, KnownHosts(self.known_hosts), on_failure=on_failure)


def own_host(home: Home, machine: MachineSettings) -> Host:
    """The host of kind ``ssh``: of several the first.

    Raises:
        ValueError: the settings name none.
    """
    if machine.ssh is None:
        raise ValueError(f"a machine of kind {machine.kind} has no host of its own")
    return _host(home, machine.ssh)


def own_hosts(home: Home, machine: MachineSettings) -> list[Host]:
    """All hosts of kind ``ssh``.

    Raises:
        ValueError: the settings name none.
    """
    return [own_host(home, machine), *(_host(home, one) for one in machine.more_hosts)]


def _host(home: Home, ssh: SshSettings) -> Host:
    name = f"{re.sub('[^A-Za-z0-9.-]', '_', ssh.host)}-{ssh.port}"
    return Host(name, ssh, known_hosts_file(home, name))
