"""Files that are whole or absent: write beside, fsync, rename; and digests of content."""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

logger = logging.getLogger("cft.files")

PARTIAL = ".partial"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def fsync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Replace ``path`` by ``content`` so that a reader sees the old file or the new one.

    Args:
        path: of the file; its folder is made.
        content: all of it; text is written as UTF-8.
        private: only its owner may read it, at no moment anybody else.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner reads; results are shared like any other file.
        if not private:
            Path(beside).chmod(0o666 & ~_umask())
        Path(beside).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(beside).unlink()
        raise
    fsync_folder(path.parent)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Yield an open text file (UTF-8) that replaces ``path`` when the block succeeds.

    A block that raises leaves the old file. What a killed process leaves is hidden, and removed by
    the next writer of the same path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        with beside.open("w", encoding="utf-8", newline="") as file, _locked(beside):
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def _beside(target: Path) -> Path:
    """This process's hidden name beside ``target``; what dead processes left there is removed."""
    for stale in target.parent.glob(f".{target.name}.*{PARTIAL}"):
        if abandoned(stale):
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)
            else:
                stale.unlink(missing_ok=True)
    return target.parent / f".{target.name}.{os.getpid()}{PARTIAL}"


def abandoned(partial: Path) -> bool:
    """Whether nobody writes it any more: its process is gone, and nobody holds its lock.

    Both are asked: a process is there before its lock is, and one in another container that
    shares the folder is only seen by its lock.
    """
    owner = partial.name.removesuffix(PARTIAL).rsplit(".", 1)[-1]
    if owner.isdigit() and _alive(int(owner)):
        return False
    try:
        with _locked(partial):
            return True
    except (BlockingIOError, FileNotFoundError):
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder for as long as the block lasts, or this process lives."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked_within(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock of a file, made when it is missing; the lock of a process that died is free.

    Raises:
        TimeoutError: another process holds it for longer than ``seconds``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path}: held by another process") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; Devanagari stays readable."""
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target`` that becomes ``target`` when the block succeeds.

    A block that raises leaves nothing. A killed process leaves a ``*.partial`` folder, which no
    reader takes for the result and the next writer of the same target removes. When another
    process published ``target`` first, its result stands (both were made from the same inputs).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(target)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        with _locked(beside):
            yield beside
        for path in beside.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        if target.exists():
            shutil.rmtree(beside)
        else:
            beside.replace(target)
            fsync_folder(target.parent)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def append_line(path: Path, value: Any, durable: bool = False) -> None:
    """Append ``value`` as one line of JSON in one write.

    Args:
        path: made with its folders when it is missing.
        value: JSON without NaN and infinity.
        durable: whether the line has reached the disk when this returns.
    """
    line = json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(handle).st_size
        # A writer that died in mid-line must not swallow the first line of its successor.
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(handle, line)
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)
    if durable and not size:
        fsync_folder(path.parent)


def read_lines(path: Path, offset: int = 0) -> tuple[list[tuple[Any, int]], int]:
    """Values of the whole lines from byte ``offset`` on, each with the offset after its line.

    A last line without its newline is left for the next call, and a missing file has no lines. A
    torn line in the middle (its writer was killed) is skipped with a warning.

    Returns:
        The values, and the offset after the last whole line.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    values = []
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
        offset += len(line)
        if not line.strip():
            continue
        try:
            values.append((json.loads(line), offset))
        except ValueError:
            logger.warning("%s: a torn line was skipped", path)
    return values, offset


def digest_json(value: Any) -> str:
    """SHA-256 (first 16 hex digits) of a JSON value, independent of key order."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_file(path: Path) -> str:
    """SHA-256 (first 16 hex digits) of one file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def digest_folder(folder: Path, pattern: str = "*") -> str:
    """SHA-256 (first 16 hex digits) of the names and bytes of the files under ``folder``."""
    files = sorted(p for p in folder.rglob(pattern) if p.is_file())
    return digest_json([[p.relative_to(folder).as_posix(), digest_file(p)] for p in files])


def digest_code(*modules: str) -> str:
    """Digest of the source of the named ``cft`` modules or packages.

    Part of every cache key: a step whose code changed is never answered from its cache.
    """
    root = Path(__file__).parent
    parts = {}
    for name in modules:
        place = root.joinpath(*name.split(".")[1:])
        is_package = place.is_dir()
        parts[name] = (
            digest_folder(place, "*.py") if is_package else digest_file(place.with_suffix(".py"))
        )
    return digest_json(parts)
