"""A real SSH server on loopback, with keys of its own, and a wire to it that can be cut."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.server import free_port

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
USER = pwd.getpwuid(os.getuid()).pw_name

needs_sshd = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh-keygen") is None, reason="no OpenSSH server here"
)


def keygen(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A new key pair; returns the private key's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)],
        check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return path


def public(key: Path) -> str:
    """Kind and base64 of a key's public half."""
    return " ".join(key.with_name(key.name + ".pub").read_text().split()[:2])


def fingerprint(key: Path) -> str:
    """As ``ssh-keygen -l`` says it."""
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(key)], check=True, capture_output=True, text=True
    )
    return shown.stdout.split()[1]


class Sshd:
    """An SSH server that can be killed and started again; this user's keys open it.

    Args:
        folder: for its keys, its settings and its log.
        kinds: of its host keys.
        more: lines of ``sshd_config``.
        address: that it listens on and is reached by.
        inside: words before its command: of another network, or of fewer cores.
    """

    def __init__(
        self,
        folder: Path,
        kinds: tuple[str, ...] = ("ed25519",),
        more: tuple[str, ...] = (),
        address: str = "127.0.0.1",
        inside: tuple[str, ...] = (),
    ) -> None:
        assert SSHD is not None
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, free_port()
        self.log = folder / "sshd.log"
        self.authorized = folder / "authorized_keys"
        self.client_key = keygen(folder / "client")
        self.authorized.write_text(public(self.client_key) + "\n")
        self.host_keys = [keygen(folder / f"host_{kind}", kind) for kind in kinds]
        self.config = folder / "sshd_config"
        self.more, self.address, self.inside = more, address, inside
        self.process: subprocess.Popen[bytes] | None = None

    def write_config(self) -> None:
        lines = [
            *self.more,  # of two lines for one thing the first counts
            f"Port {self.port}",
            f"ListenAddress {self.address}",
            f"PidFile {self.folder}/sshd.pid",
            *(f"HostKey {key}" for key in self.host_keys),
            f"AuthorizedKeysFile {self.authorized}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "LogLevel VERBOSE",
            "MaxStartups 100:30:200",
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self) -> "Sshd":
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.write_config()
        assert SSHD is not None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.inside, SSHD, "-D", "-e", "-f", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            with (
                contextlib.suppress(OSError),
                socket.create_connection((self.address, self.port), timeout=5) as probe,
            ):
                if probe.recv(4) == b"SSH-":
                    return self
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"sshd did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def sessions(self) -> list[psutil.Process]:
        """The processes that serve connections."""
        if self.process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [
                one
                for one in psutil.Process(self.process.pid).children(recursive=True)
                if one.name().startswith("sshd")
            ]
        return []

    def kill_sessions(self) -> int:
        """SIGKILL to whatever serves a connection; what the sessions started lives on."""
        found = self.sessions()
        for one in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        return len(found)

    def kill(self) -> None:
        """SIGKILL to the server and to every session."""
        self.kill_sessions()
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def settings(self, **changes: Any) -> Any:
        """How cft reaches it; short times."""
        from tasks.machine.ssh.settings import SshSettings

        values = {
            "host": self.address,
            "port": self.port,
            "user": USER,
            "identity": self.client_key,
            "agent": False,
        }
        return SshSettings.model_validate(values | changes)


class Wire:
    """A TCP proxy whose traffic can be stopped without a word, or cut, as networks do.

    Args:
        port: to which it leads, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._flowing = threading.Event()
        self._flowing.set()
        self._pairs: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.carried = 0
        self.cut_after: int | None = None  # bytes, both ways together, after which it is cut
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """From now on nothing arrives, either way, and nobody is told."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        """End every connection at once."""
        pairs, self._pairs = self._pairs, []
        for one in pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        self._listener.close()
        self.resume()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
                self.carried += len(data)
                if self.cut_after is not None and self.carried >= self.cut_after:
                    self.cut_after = None
                    self.cut()
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def running(server: Sshd) -> Iterator[Sshd]:
    """The server while the block runs."""
    try:
        yield server.start()
    finally:
        server.kill()
