"""What the two ends of a transfer say to each other, in lines of JSON and bytes.

After a line that marks the beginning (whatever a shell's start-up files print comes before it):

    sender    the list of its files: path, size, whether executable
    receiver  of each, how many bytes it has already and their BLAKE2b, or null
    sender    for each file that differs: a line, the bytes that are missing, a line with the
              CRC-32 of these; at the end, which files are the same
    receiver  which files are in place now
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BEGIN = b"cft-transfer 1\n"
BLOCK = 256 * 1024
LINE = 256 * 1024 * 1024  # longer than any list of files

Write = Callable[[bytes], None]
Told = Callable[[int], None]


class BrokenError(Exception):
    """The other end stopped in the middle, or says what is not of this protocol."""


class Writer:
    """Many small writes as few large ones: each is a packet, whatever its size.

    Args:
        write: takes bytes to the other end.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._buffer = bytearray()

    def write(self, data: bytes) -> None:
        """Write now, or with what comes next."""
        if not self._buffer and len(data) >= BLOCK:
            self._write(data)
            return
        self._buffer += data
        if len(self._buffer) >= BLOCK:
            self.flush()

    def line(self, value: Any) -> None:
        """A line of the protocol."""
        self.write(line(value))

    def flush(self) -> None:
        """Write what is held back: before whatever waits for an answer."""
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._write(data)


class Reader:
    """Lines and bytes from a function that returns some bytes, or none at the end."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._buffer = bytearray()
        self._at = 0  # what comes before it has been read

    def _more(self) -> None:
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += self._some(BLOCK)

    def _some(self, count: int) -> bytes:
        data = self._receive(count)
        if not data:
            raise BrokenError("the other end stopped in the middle")
        return data

    def line(self) -> Any:
        """The next line, which is JSON."""
        start = self._at
        while (end := self._buffer.find(b"\n", start)) < 0:
            if len(self._buffer) - self._at > LINE:
                raise BrokenError("a line without an end")
            self._more()
            start = 0
        data = bytes(self._buffer[self._at : end])
        self._at = end + 1
        try:
            return json.loads(data)
        except ValueError:
            raise BrokenError(f"not a line of this protocol: {data[:100]!r}") from None

    def pieces(self, count: int) -> Iterator[bytes]:
        """So many bytes, piece by piece as they come."""
        held = bytes(self._buffer[self._at : self._at + count])
        self._at += len(held)
        count -= len(held)
        if held:
            yield held
        while count > 0:
            data = self._some(min(count, BLOCK))
            count -= len(data)
            yield data

    def after(self, mark: bytes) -> None:
        """Skip everything up to and with ``mark``."""
        while (at := self._buffer.find(mark, self._at)) < 0:
            if len(self._buffer) > LINE:
                raise BrokenError("no beginning")
            self._buffer += self._some(BLOCK)
        self._at = at + len(mark)


def line(value: Any) -> bytes:
    """A line of the protocol."""
    return json.dumps(value).encode() + b"\n"


def digest(path: Path, size: int) -> str | None:
    """BLAKE2b of the first ``size`` bytes of a file, or None when it has fewer.

    As strong as SHA-256, and faster where no chip helps that.
    """
    known = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while size > 0:
            data = file.read(min(size, 1 << 20))
            if not data:
                return None
            known.update(data)
            size -= len(data)
    return known.hexdigest()


class Checksum:
    """CRC-32 of what was sent. Every packet of SSH is authenticated on its way, and what is there
    before is compared by :func:`digest`: this finds a file that changed while it was read, at a
    twentieth of the time of a hash.
    """

    def __init__(self) -> None:
        self.value = 0

    def update(self, data: bytes) -> None:
        """Take what comes next."""
        self.value = zlib.crc32(data, self.value)
