"""A host on which commands run, for as long as it takes: the connection may come and go."""

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator

import paramiko

from cft.errors import one_line
from tasks.machine.remote import Result
from tasks.machine.ssh.connect import connect
from tasks.machine.ssh.errors import TransientSshError
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.ssh.link import Link
from tasks.machine.ssh.settings import SshSettings

logger = logging.getLogger("cft.ssh")

SLOWEST_RETRY = 60.0
BLOCK = 32 * 1024


class Connection:
    """Commands on one host, over at most one connection at a time. Threads may share it.

    It connects on first use and again whenever the connection has died. What cannot get better by
    waiting (a wrong key, another host) is raised at once; a host that is away is waited for as long
    as the command's own time allows.

    Args:
        settings: of the host.
        known_hosts: where its key is kept, or will be.
        jump_known_hosts: the same for the host in between; by default one file serves both.
        on_failure: told after each failed attempt to connect how many there were in a row; what it
            raises is raised. A rented machine is looked for there.
    """

    def __init__(
        self,
        settings: SshSettings,
        known_hosts: KnownHosts,
        jump_known_hosts: KnownHosts | None = None,
        on_failure: Callable[[int], None] | None = None,
    ) -> None:
        self.settings = settings
        self._known_hosts = known_hosts
        self._jump_known_hosts = jump_known_hosts
        self._on_failure = on_failure
        self._link: Link | None = None
        self._connecting = threading.Lock()
        self._channels = threading.BoundedSemaphore(settings.channels)
        self._closed = False

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; commands that run on the host go on there."""
        self._closed = True
        self._drop()

    def run(
        self, command: str, *, timeout: float | None = None, stdin: bytes | None = None
    ) -> Result:
        """Run a command in the user's shell on the host: see :class:`tasks.machine.remote.Remote`.

        The command is sent once. When the connection dies under it, or its time is over, the result
        has no exit code: it may have done all, some or nothing, and may go on.

        Raises:
            SshError: something that a person has to mend.
        """
        deadline = time.monotonic() + (timeout or self.settings.command_seconds)
        try:
            with self.session(deadline) as channel:
                return _talk(channel, command, stdin, deadline)
        except TransientSshError as error:
            return Result(None, stderr=str(error))

    @contextlib.contextmanager
    def session(self, deadline: float) -> Iterator[paramiko.Channel]:
        """A channel for one command, closed with the block; at most ``channels`` are open at once.

        Args:
            deadline: on the monotonic clock, until which it must have been opened.

        Raises:
            TransientSshError: the host could not be reached in time.
            SshError: something that a person has to mend.
        """
        address = self.settings.address
        if not self._channels.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TransientSshError(f"{address}: all {self.settings.channels} channels are busy")
        try:
            channel = self._open(deadline)
            try:
                yield channel
            finally:
                # Closing says so to the host, and that may wait for a connection that is dying.
                threading.Thread(target=_close, args=(channel,), daemon=True).start()
        finally:
            self._channels.release()

    def tunnel(self, host: str, port: int, timeout: float) -> paramiko.Channel:
        """A channel to an address as the host sees it; the caller closes it.

        Raises:
            TransientSshError: nothing listens there, or the host is away.
            SshError: the host forbids it.
        """
        link = self._reach(time.monotonic() + timeout)
        try:
            return link.transport.open_channel(
                "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout
            )
        except paramiko.ChannelException as error:
            raise TransientSshError(
                f"{self.settings.address}: nothing answers at {host}:{port} there ({error.text})"
            ) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise TransientSshError(f"{self.settings.address}: {one_line(error)}") from None

    def _open(self, deadline: float) -> paramiko.Channel:
        """A session on a living link; a link that gives none is replaced."""
        while True:
            link = self._reach(deadline)
            left = deadline - time.monotonic()
            patience = max(0.1, min(left, self.settings.dead_seconds))
            try:
                return link.transport.open_session(timeout=patience)
            except (paramiko.SSHException, OSError, EOFError) as error:
                text = getattr(error, "text", "") or one_line(error)
                waited_long = "Timeout" in text and patience >= self.settings.dead_seconds
                if link.alive and not waited_long:
                    # The host has as many sessions as it allows: others of this user may be at
                    # work. Of two that are refused at once paramiko gives one no reason.
                    problem, wait = f"no session ({text})", 0.5
                else:
                    problem, wait = text, 0.0
                    self._drop(link)
            if time.monotonic() + wait >= deadline:
                raise TransientSshError(f"{self.settings.address}: {problem}")
            time.sleep(wait)

    def _reach(self, deadline: float) -> Link:
        """The living link, made anew until the deadline: pauses 1, 2, 4 .. 60 s, full jitter."""
        failures = 0
        while True:
            if not self._connecting.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise TransientSshError(f"{self.settings.address}: not reached in time")
            try:
                if self._closed:
                    raise TransientSshError(f"{self.settings.address}: the connection was closed")
                if self._link is not None and self._link.alive:
                    return self._link
                self._drop()
                left = max(0.1, deadline - time.monotonic())
                settings = self.settings.model_copy(
                    update={"connect_seconds": min(self.settings.connect_seconds, left)}
                )
                self._link = connect(settings, self._known_hosts, self._jump_known_hosts)
                return self._link
            except TransientSshError as error:
                problem = error
            finally:
                self._connecting.release()
            if self._closed:
                raise problem
            failures += 1
            if self._on_failure is not None:
                self._on_failure(failures)
            pause = random.uniform(0, min(SLOWEST_RETRY, 2.0 ** (failures - 1)))
            if time.monotonic() + pause >= deadline:
                raise problem
            logger.info("%s; trying again in %.1f s", problem, pause)
            time.sleep(pause)

    def _drop(self, link: Link | None = None) -> None:
        """Close the link; where one is named, only if it is still that one."""
        current = self._link
        if current is not None and (link is None or link is current):
            self._link = None
            current.close()


def _talk(channel: paramiko.Channel, command: str, stdin: bytes | None, deadline: float) -> Result:
    """Run one command; both streams are read at once, since a full one would stop the other."""
    output, errors = bytearray(), bytearray()
    # It has no time-out of its own, and a closed channel frees it.
    guard = threading.Timer(max(0.0, deadline - time.monotonic()), _close, (channel,))
    guard.daemon = True
    guard.start()
    readers = [
        threading.Thread(target=_read, args=(channel.recv_stderr, errors), daemon=True),
        threading.Thread(target=_write, args=(channel, stdin or b""), daemon=True),
    ]
    try:
        channel.exec_command(command)
        for one in readers:
            one.start()
        _read(channel.recv, output)
        readers[0].join(max(0.0, deadline - time.monotonic()))
        channel.status_event.wait(max(0.0, deadline - time.monotonic()))
    except (paramiko.SSHException, OSError, EOFError) as error:
        errors += f"{one_line(error)}\n".encode()
    finally:
        guard.cancel()
    code = channel.exit_status if channel.status_event.is_set() else -1
    return Result(
        # -1: the connection died, or a signal ended the command. Neither says what it did.
        None if code == -1 else code,
        bytes(output).decode(errors="replace"),
        bytes(errors).decode(errors="replace"),
    )


def _close(channel: paramiko.Channel) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # it is gone already
        channel.close()


def _read(receive: Callable[[int], bytes], into: bytearray) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while block := receive(BLOCK):
            into += block


def _write(channel: paramiko.Channel, data: bytes) -> None:
    # A command may end without having read all of it.
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        channel.sendall(memoryview(data))
        channel.shutdown_write()
