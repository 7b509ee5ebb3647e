"""A port of this host that leads to one of the other, for as long as it takes.

A connection that dies takes the open streams with it, and nothing more: whoever connects next is
served over a new one.
"""

import contextlib
import logging
import socket
import threading
from types import TracebackType

import paramiko

from cft.errors import CftError
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.errors import SshError

logger = logging.getLogger("cft.ssh")

OPEN_SECONDS = 30.0  # that a client waits for its stream, reconnection included
BLOCK = 64 * 1024


class Tunnel:
    """Listens on 127.0.0.1 until it is closed.

    Args:
        connection: to the host; the tunnel does not close it.
        port: on the host's own loopback.
        local_port: here; 0 takes a free one.

    Raises:
        CftError: the local port is taken.
    """

    def __init__(self, connection: Connection, port: int, local_port: int = 0) -> None:
        self.connection, self.port = connection, port
        try:
            self._listener = socket.create_server(("127.0.0.1", local_port))
        except OSError as error:
            raise CftError(
                f"port {local_port}: cannot listen there ({error.strerror}); take another, or 0 "
                "for a free one"
            ) from None
        self.local_port = int(self._listener.getsockname()[1])
        self._streams: set[socket.socket] = set()
        self._closed = threading.Event()
        threading.Thread(target=self._accept, name="cft-tunnel", daemon=True).start()

    def __enter__(self) -> "Tunnel":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and every stream through it."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # frees the thread that accepts
        self._listener.close()
        for near in list(self._streams):
            _end(near)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                if not self._closed.wait(0.1):
                    continue  # out of file handles, say: it passes
                return
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._streams.add(near)
            threading.Thread(
                target=self._serve, args=(near,), name="cft-tunnel-stream", daemon=True
            ).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = self.connection.tunnel("127.0.0.1", self.port, OPEN_SECONDS)
            back = threading.Thread(target=_carry_back, args=(far, near), daemon=True)
            back.start()
            _carry(near, far)
            back.join()
        except (SshError, CftError) as error:
            # The client sees its stream end and asks again; the tunnel goes on listening.
            logger.warning("tunnel to port %d: %s", self.port, error)
        finally:
            _end(near)
            self._streams.discard(near)


def _carry(near: socket.socket, far: paramiko.Channel) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while data := near.recv(BLOCK):
            far.sendall(data)
        far.shutdown_write()


def _carry_back(far: paramiko.Channel, near: socket.socket) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while data := far.recv(BLOCK):
            near.sendall(data)
        near.shutdown(socket.SHUT_WR)
    if far.closed or far.eof_received:
        with contextlib.suppress(OSError):
            # Nothing more can come: a client that still waits for a dead host is freed.
            near.shutdown(socket.SHUT_RDWR)
    far.close()


def _end(near: socket.socket) -> None:
    with contextlib.suppress(OSError):
        near.shutdown(socket.SHUT_RDWR)
    near.close()
