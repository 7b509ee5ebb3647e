"""Both ends of a transfer: one sends files, the other receives them. Standard library alone.

This file is what a host runs: it is sent ahead of the files over the same channel, so nothing has
to be installed there. After a line that marks the beginning (whatever a shell's start-up files
print comes before it), the two speak in lines of JSON:

    sender    the list of its files: path, size, whether executable
    receiver  of each, how many bytes it has already and their BLAKE2b, or null
    sender    for each file that differs: a line, the bytes that are missing, a line with the
              CRC-32 of these; at the end, which files are the same
    receiver  which files are in place now

What is received is written under ``.cft-parts`` in the receiver's folder, checked, flushed to the
disk and only then renamed to its place.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import select
import shutil
import stat
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEGIN = b"cft-transfer 1\n"
PARTS = ".cft-parts"
BLOCK = 256 * 1024
PIPE = 64 * 1024
LINE = 256 * 1024 * 1024  # longer than any list of files
LARGE = 16 * 1024 * 1024  # bytes, from which on a file goes to the disk while it arrives
WRITERS = 4  # threads that make small files
TOGETHER = 16  # small files that a thread makes in one go: handing over costs as well
MANY = 32  # files, from which on one flush of the whole file system is quicker
IDLE = 60.0  # seconds without a byte, after which a receiver on a host gives up
PATIENCE = 150.0  # seconds for another transfer into the same folder to end

Write = Callable[[bytes], None]
Told = Callable[[int], None]


class BadNameError(Exception):
    """A name that would lead out of the folder."""


class BrokenError(Exception):
    """The other end stopped in the middle, or says what is not of this protocol."""


def place(root: Path, name: str) -> Path:
    """Where a file of this name goes: below ``root``, whatever the name says.

    Raises:
        BadNameError: it is absolute, climbs, is no name at all, or a link on its way leads out.
    """
    return places(root, [name])[0]


def places(root: Path, names: list[str]) -> list[Path]:
    """:func:`place` of many; each folder is looked at once."""
    base, inside = os.path.realpath(root), set[str]()
    found = []
    for name in names:
        parts = name.split("/") if isinstance(name, str) else []
        if not parts or any(one in ("", ".", "..") or "\0" in one for one in parts):
            raise BadNameError(f"{name!r}: not a path below the folder")
        if parts[0] == PARTS:
            raise BadNameError(f"{name!r}: a name that the transfer keeps for itself")
        path = root.joinpath(*parts)
        if (folder := str(path.parent)) not in inside:
            if os.path.commonpath([base, os.path.realpath(folder)]) != base:
                raise BadNameError(f"{name!r}: a link on its way leads out of the folder")
            inside.add(folder)
        found.append(path)
    return found


def listing(root: Path, names: list[str] | None = None) -> list[dict[str, Any]]:
    """Regular files below a folder as the sender lists them, in the order of their paths.

    Args:
        root: the folder.
        names: files or folders below it; by default all of it. One that is missing is left out.
    """
    found: dict[str, os.stat_result] = {}
    for top in [root] if names is None else [place(root, name) for name in names]:
        walked = os.walk(top) if top.is_dir() else [(str(top.parent), [], [top.name])]
        for folder, folders, files in walked:
            folders[:] = [one for one in folders if one != PARTS]
            for file in files:
                path = Path(folder, file)
                with contextlib.suppress(OSError):  # gone meanwhile
                    known = path.lstat()
                    if stat.S_ISREG(known.st_mode):
                        found[path.relative_to(root).as_posix()] = known
    return [
        {"path": path, "size": known.st_size, "run": bool(known.st_mode & 0o100)}
        for path, known in sorted(found.items())
    ]


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


def send(
    write: Write, reader: Reader, root: Path, files: list[dict[str, Any]], told: Told
) -> set[int]:
    """Send what the receiver has not got; returns the indices of the files in place there.

    Args:
        write: takes bytes to the other end.
        reader: of what comes from there.
        root: folder of the files.
        files: as :func:`listing` gives them.
        told: is told the bytes that were dealt with.
    """
    out, same = Writer(write), []
    out.line(files)
    out.flush()
    for index, (one, known) in enumerate(zip(files, reader.line(), strict=True)):
        path, start, content = root / one["path"], 0, Checksum()
        try:
            if known is not None and digest(path, known[0]) == known[1]:
                start = known[0]
                told(start)
                if known[2]:
                    same.append(index)
                    continue
            file = path.open("rb", buffering=0)
        except OSError:
            continue  # it went away since it was listed: the receiver will miss it
        with file:
            file.seek(start)
            out.line({"file": index, "start": start})
            left, whole = one["size"] - start, True
            while left > 0:  # a log that grows is sent as far as it was listed
                data = file.read(min(left, BLOCK))
                if (
                    not data
                ):  # it became shorter: as many bytes all the same, since they are awaited
                    data, whole = bytes(min(left, BLOCK)), False
                content.update(data)
                out.write(data)
                told(len(data))
                left -= len(data)
            out.line({"checksum": content.value if whole else "cut short"})
    out.line({"file": None, "same": same})
    out.flush()
    return set(reader.line())


@dataclass
class Kept:
    """What the receiver has of one file."""

    part: Path
    size: int = 0
    known: str | None = None  # the digest of so many bytes
    placed: bool = False  # whether they are in place, and not a part

    def told(self) -> list[Any] | None:
        """For the sender."""
        return [self.size, self.known, self.placed] if self.known else None


def receive(
    write: Write,
    reader: Reader,
    root: Path,
    told: Told,
    begun: Callable[[list[dict[str, Any]]], None] = lambda files: None,
) -> set[int]:
    """Receive what the sender lists; returns the indices of the files that are in place.

    Args:
        write: takes bytes to the other end.
        reader: of what comes from there.
        root: folder for the files; it need not exist.
        told: is told the bytes that were dealt with.
        begun: is told the list, before anything is written.

    Raises:
        BadNameError: the sender names a file outside of the folder; nothing is written then.
    """
    files = reader.line()
    targets = places(root, [one["path"] for one in files])
    begun(files)
    root.mkdir(parents=True, exist_ok=True)
    with only_one(root):
        parts = root / PARTS
        parts.mkdir(exist_ok=True)
        begun_before = set(os.listdir(parts))
        kept = [
            _kept(parts, begun_before, one, path) for one, path in zip(files, targets, strict=True)
        ]
        write(line([one.told() for one in kept]))
        arrived, same = _arriving(reader, files, kept, told)
        flush(parts, [kept[index].part for index in arrived])
        for folder in {targets[index].parent for index in arrived}:
            folder.mkdir(parents=True, exist_ok=True)
        for index in arrived:
            if files[index]["run"]:
                kept[index].part.chmod(0o755)
            kept[index].part.replace(targets[index])
        done = {*arrived, *same}
        if len(done) == len(files):
            shutil.rmtree(parts, ignore_errors=True)
    write(line(sorted(done)))
    return done


def _kept(parts: Path, begun: set[str], one: dict[str, Any], path: Path) -> Kept:
    part = parts / hashlib.sha256(one["path"].encode()).hexdigest()
    with contextlib.suppress(OSError):
        there = path.lstat()
        if stat.S_ISREG(there.st_mode) and there.st_size == one["size"]:
            return Kept(part, there.st_size, digest(path, there.st_size), placed=True)
    if part.name in begun:
        size = min(part.stat().st_size, one["size"])
        if size:
            return Kept(part, size, digest(part, size))
    return Kept(part)


def _arriving(
    reader: Reader, files: list[dict[str, Any]], kept: list[Kept], told: Told
) -> tuple[list[int], list[int]]:
    """Write what comes into its part; which came whole and right, and which were here already."""
    arrived, writing = [], deque[Future[None]]()
    small: list[tuple[Path, bytes]] = []
    with ThreadPoolExecutor(WRITERS) as pool:
        while (head := reader.line())["file"] is not None:
            index, start = head["file"], head["start"]
            size, part = files[index]["size"], kept[index].part
            if start and (kept[index].placed or start != kept[index].size):
                raise BrokenError(f"{files[index]['path']}: goes on where nothing is")
            if not start and size <= BLOCK:
                # Making a file takes longer than reading it from the wire.
                data = b"".join(reader.pieces(size))
                came = Checksum()
                came.update(data)
                small.append((part, data))
                told(size)
                if len(small) == TOGETHER:
                    writing.append(pool.submit(_make, small))
                    small = []
                    if len(writing) > 2 * WRITERS:
                        writing.popleft().result()
            else:
                came = _write(part, start, size, reader, told)
            if reader.line()["checksum"] == came.value:
                arrived.append(index)
            else:  # cut short or changed while it was read: from the beginning next time
                _make(small)
                small = []
                while writing:
                    writing.popleft().result()
                part.unlink()
        _make(small)
        while writing:
            writing.popleft().result()
    return arrived, head["same"]


def _make(files: list[tuple[Path, bytes]]) -> None:
    for part, data in files:
        part.write_bytes(data)


def _write(part: Path, start: int, size: int, reader: Reader, told: Told) -> Checksum:
    came = Checksum()
    with part.open("r+b" if start else "wb", buffering=0) as file, _flushing(size) as written:
        file.seek(start)
        file.truncate()
        for data in reader.pieces(size - start):
            came.update(data)
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            written(file.fileno(), len(data))
            told(len(data))
    return came


@contextlib.contextmanager
def _flushing(size: int) -> Iterator[Callable[[int, int], None]]:
    """What a large file has got goes to the disk beside what arrives, and not all at its end."""
    if size < LARGE:
        yield lambda handle, count: None
        return
    pending: list[Future[None]] = []
    unflushed = 0
    with ThreadPoolExecutor(1) as pool:

        def written(handle: int, count: int) -> None:
            nonlocal unflushed
            unflushed += count
            if unflushed >= LARGE and (not pending or pending[-1].done()):
                unflushed = 0
                pending.append(pool.submit(os.fdatasync, handle))

        yield written


def flush(folder: Path, paths: list[Path]) -> None:
    """Bring files to the disk, so that no rename can come before its content."""
    if len(paths) >= MANY:
        handle = os.open(folder, os.O_RDONLY)
        try:
            if ctypes.CDLL(None).syncfs(handle) == 0:
                return
        except AttributeError:  # not Linux
            pass
        finally:
            os.close(handle)
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def only_one(root: Path) -> Iterator[None]:
    """One receiver at a time in a folder; one whose sender fell silent ends by itself."""
    handle = os.open(root, os.O_RDONLY)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BrokenError(f"{root}: another transfer into it goes on") from None
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def main() -> None:
    """The host's end: what is asked for stands in the first line."""
    idle = IDLE

    def take(count: int) -> bytes:
        # A sender may be gone without a word, and nobody else would ever end this process.
        if not select.select([0], [], [], idle)[0]:
            raise BrokenError(f"nothing came for {idle:g} s")
        return os.read(0, min(count, PIPE))  # a larger buffer would be mapped anew for each read

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(1, rest) :]

    def told(count: int) -> None:
        del count

    reader = Reader(take)
    write(BEGIN)
    try:
        asked = reader.line()
        idle = asked["idle"]
        root = Path(asked["root"]).expanduser()
        if asked["do"] == "receive":
            receive(write, reader, root, told)
        else:
            send(write, reader, root, listing(root, asked["names"]), told)
    except (BadNameError, BrokenError, OSError) as error:
        print(f"cft-transfer: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
