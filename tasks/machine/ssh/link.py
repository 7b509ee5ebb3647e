"""One connection to a host: made step by step, each within its time, and watched while it lasts."""

import contextlib
import socket
import threading
import time
from typing import Any

import paramiko

from tasks.machine.ssh.settings import SshSettings


class WatchedSocket:
    """A socket, or a channel through another host, that remembers when it last heard something.

    Paramiko's keepalive counts no answers, so a dead peer looks alive for ever. What arrives is the
    only sign that cannot be mistaken.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._closed = False  # paramiko reads it under this name
        self.heard = time.monotonic()

    def recv(self, size: int) -> bytes:
        """As a socket's."""
        data: bytes = self._inner.recv(size)
        if data:
            self.heard = time.monotonic()
        return data

    def close(self) -> None:
        """As a socket's; whoever waits for it is freed."""
        self._closed = True
        if isinstance(self._inner, socket.socket):
            with contextlib.suppress(OSError):  # it was never connected, or is no longer
                self._inner.shutdown(socket.SHUT_RDWR)
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Link:
    """An authenticated transport and the watch over it.

    Args:
        transport: authenticated.
        wire: what it speaks through.
        settings: how long silence may last.
        before: the link to the host that this one goes through; it is closed with it.
    """

    def __init__(
        self,
        transport: paramiko.Transport,
        wire: WatchedSocket,
        settings: SshSettings,
        before: "Link | None" = None,
    ) -> None:
        self.transport = transport
        self._wire = wire
        self._settings = settings
        self._before = before
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="cft-ssh-watch", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return not self._over.is_set() and self.transport.is_active()

    def close(self) -> None:
        """End it; every call that waits for the host is freed."""
        self._over.set()
        # The socket first: a transport that closes in order would wait for a peer that is silent.
        self._wire.close()
        self.transport.close()
        if self._before is not None:
            self._before.close()

    def _watch(self) -> None:
        """Ask a silent host for a sign, and end the link when none comes in time."""
        settings, asker = self._settings, None
        beat = min(settings.heartbeat_seconds, settings.dead_seconds) / 4
        while not self._over.wait(beat):
            if not self.transport.is_active():
                self.close()
                return
            silence = time.monotonic() - self._wire.heard
            if silence > settings.heartbeat_seconds + settings.dead_seconds:
                self.close()
                return
            if silence > settings.heartbeat_seconds and (asker is None or not asker.is_alive()):
                # In a thread of its own: the question may stand in a queue that nobody empties.
                asker = threading.Thread(target=self._ask, name="cft-ssh-ask", daemon=True)
                asker.start()

    def _ask(self) -> None:
        # Every server answers it, if only to say that it does not know the word; and the watch sees
        # the silence where none does.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self.transport.global_request("keepalive@openssh.com", wait=True)
