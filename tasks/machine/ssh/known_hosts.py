"""Host keys: a pin, or a file per machine that keeps the first key and refuses every other.

Providers give the addresses of ended machines to new ones, so the file is the machine's, not the
user's: another machine at the same address starts with an empty file of its own.
"""

import base64
import binascii
import contextlib
import hashlib
import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cft.files import locked_within, write_atomic
from tasks.machine.ssh.errors import HostKeyError

logger = logging.getLogger("cft.ssh")

SHA256 = "SHA256:"
LOCK_SECONDS = 30.0


def fingerprint(blob: bytes) -> str:
    """``SHA256:...`` of a public key, as ``ssh-keygen -l`` shows it."""
    return SHA256 + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class HostKey:
    """A host's public key."""

    kind: str  # such as ssh-ed25519
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """``SHA256:...``"""
        return fingerprint(self.blob)

    @property
    def text(self) -> str:
        """Kind and base64, as in a ``.pub`` file."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @classmethod
    def parse(cls, kind: str, text: str) -> "HostKey":
        """From the two words of a ``.pub`` file.

        Raises:
            ValueError: the second word is not a key of that kind.
        """
        try:
            blob = base64.b64decode(text, validate=True)
            (length,) = struct.unpack_from(">I", blob)
        except (binascii.Error, struct.error):
            raise ValueError("not a public key in base64") from None
        if blob[4 : 4 + length] != kind.encode():
            raise ValueError(f"not a key of the kind {kind}")
        return cls(kind, blob)


@dataclass(frozen=True)
class Pin:
    """What the settings say that the host's key is: the key, or only its fingerprint."""

    fingerprint: str
    kind: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Pin":
        """From ``SHA256:...`` or ``kind base64 [comment]``.

        Raises:
            ValueError: it is neither.
        """
        words = text.split()
        if len(words) == 1 and words[0].startswith(SHA256):
            digest = words[0].removeprefix(SHA256)
            with contextlib.suppress(binascii.Error):
                if len(base64.b64decode(digest + "=", validate=True)) == 32:
                    return cls(words[0])
        elif len(words) >= 2:
            key = HostKey.parse(words[0], words[1])
            return cls(key.fingerprint, key.kind)
        raise ValueError("give SHA256: and 43 characters, or a line 'ssh-ed25519 AAAA...'")


class KnownHosts:
    """One file of host keys, read line by line.

    Lines that other programs may have put there and that we do not understand (certificates,
    hashed names, kinds of keys that we do not speak) are passed over. A ``@revoked`` key is never
    accepted.

    Args:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def keys(self, host: str, port: int) -> list[HostKey]:
        """The keys that are known of a host, in the file's order."""
        return [key for names, key in self._lines("") if _name(host, port) in names]

    def revoked(self) -> set[bytes]:
        """Keys that must not be accepted from any host."""
        return {key.blob for _, key in self._lines("@revoked")}

    def remember(self, host: str, port: int, key: HostKey) -> None:
        """Keep the first key of a host; of two that come at the same time one is the first.

        Raises:
            HostKeyError: another key of this host has been kept meanwhile, or this one is revoked.
        """
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            with locked_within(lock, LOCK_SECONDS):  # it is held for one small write
                self.check(host, port, key)
                if self.keys(host, port):
                    return
                text = self.path.read_text("utf-8", "replace") if self.path.exists() else ""
                if text and not text.endswith("\n"):
                    text += "\n"
                write_atomic(self.path, f"{text}{_name(host, port)} {key.text}\n")
        except TimeoutError:
            raise HostKeyError(
                f"{lock}: held by another process for {LOCK_SECONDS:g} s; end it"
            ) from None
        logger.info("%s: its key from now on is %s", _name(host, port), key.fingerprint)

    def check(self, host: str, port: int, key: HostKey) -> None:
        """Refuse a key that is revoked, or that differs from those known of the host.

        Raises:
            HostKeyError: with both fingerprints and what to do.
        """
        name = _name(host, port)
        if key.blob in self.revoked():
            raise HostKeyError(f"{name}: its key {key.fingerprint} is revoked in {self.path}")
        known = self.keys(host, port)
        if known and key.blob not in [one.blob for one in known]:
            expected = " or ".join(one.fingerprint for one in known)
            raise mismatch(name, expected, key, f"remove its line from {self.path}")

    def _lines(self, marker: str) -> Iterator[tuple[list[str], HostKey]]:
        try:
            text = self.path.read_text("utf-8", "replace")
        except FileNotFoundError:
            return
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            found = words.pop(0) if words[0].startswith("@") else ""
            if found != marker:
                continue
            try:
                names, kind, blob = words[:3]
                yield names.split(","), HostKey.parse(kind, blob)
            except ValueError:
                logger.warning("%s:%d: not a host's key; passed over", self.path, number)


def mismatch(name: str, expected: str, shown: HostKey, mend: str) -> HostKeyError:
    """The error for a key that is not the expected one."""
    return HostKeyError(
        f"{name}: the host shows the key {shown.fingerprint} ({shown.kind}), but {expected} is "
        f"known of it; somebody may be in between. If the host was set up anew, {mend}"
    )


def _name(host: str, port: int) -> str:
    return host if port == 22 else f"[{host}]:{port}"
