"""The receiver's end of a transfer.

What is received is written under ``.cft-parts`` in the receiver's folder, checked, flushed to the
disk and only then renamed to its place.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.machine.transfer.names import PARTS, places
from tasks.machine.transfer.wire import (
    BLOCK,
    BrokenError,
    Checksum,
    Reader,
    Told,
    Write,
    digest,
    line,
)

LARGE = 16 * 1024 * 1024  # bytes, from which on a file goes to the disk while it arrives
WRITERS = 4  # threads that make small files
TOGETHER = 16  # small files that a thread makes in one go: handing over costs as well
MANY = 32  # files, from which on one flush of the whole file system is quicker
PATIENCE = 150.0  # seconds for another transfer into the same folder to end


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
