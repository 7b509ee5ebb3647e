"""Files over HTTP: continued at the byte where a connection broke, verified, whole or absent.

The part of a file stays beside its target and the next attempt, in this process or another, asks
for the rest of it. What was downloaded is pinned by a lock beside it: address, size and SHA-256.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from cft.errors import CftError
from cft.files import PARTIAL, fsync_folder, write_json

log = logging.getLogger(__name__)

AGAIN = "run the same command again, it goes on where it stopped"
_CHUNK = 1 << 20  # bytes
_ADDRESS = re.compile(r"https?://[^/\s]+/\S*$")


@dataclass(frozen=True)
class Declared:
    """What a server says of a file before it sends it.

    Attributes:
        size: bytes; None where the server does not tell.
        etag: strong entity tag, with its quotes; None where there is none.
        digest: SHA-256 or git object id (SHA-1), as a model hub declares it; None elsewhere.
    """

    size: int | None
    etag: str | None
    digest: str | None


def download(url: str, target: Path, headers: Mapping[str, str] | None = None) -> Path:
    """Download one file, which appears whole or not at all; returns ``target``.

    The size that the server declares must come, and the digest where it declares one. The lock
    ``<target>.lock.json`` then holds the SHA-256. A target that stands with its lock is verified
    against it without any network; a lock without its target is a pin that the bytes must meet.

    Raises:
        CftError: no network, no such file, a full disk, bytes of another size or digest than
            declared or pinned, or a target that was not downloaded from ``url``.
    """
    if not _ADDRESS.match(url):
        raise CftError(f"{url}: not an address; give one that begins with https:// or http://")
    lock = _read_lock(target)
    if pinned(target, url):
        log.info("%s is there already (%s)", target, url)
        return target
    started = time.perf_counter()
    headers = {**(headers or build_hf_headers(token=False)), "Accept-Encoding": "identity"}
    with download_errors(target.name, url):
        target.parent.mkdir(parents=True, exist_ok=True)
        declared = declared_by(url, headers)
        part = _part_of(target, url, declared)
        with _owned(part):
            if declared.size is None and part.exists():
                os.truncate(part, 0)  # a part could not be told from the whole
            ranged = {"If-Range": declared.etag} if declared.etag else {}
            continue_part(url, part, declared.size, {**headers, **ranged}, target.name)
            sha256 = _verified(part, url, declared, lock)
            size = part.stat().st_size
            # Before the file has its name: a file without a lock would count as somebody's own.
            write_json(_lock_path(target), _lock(url, size, declared.etag, sha256))
            part.replace(target)
        fsync_folder(target.parent)
    seconds = time.perf_counter() - started
    log.info("%s: %.1f MB in %.1f s, %.1f MB/s", target, size / 1e6, seconds, size / 1e6 / seconds)
    return target


def continue_part(
    url: str, part: Path, size: int | None, headers: Mapping[str, str], name: str
) -> None:
    """Append to ``part`` what it lacks of the ``size`` bytes at ``url``, with a progress bar.

    A connection that breaks is taken up several times. Errors are those of the HTTP client.
    """
    have = part.stat().st_size if part.is_file() else 0
    if size is not None and have > size:
        part.unlink()
        have = 0
    with part.open("ab") as handle:
        # An append handle reports position 0 until it has written.
        handle.seek(0, os.SEEK_END)
        if size is None or have < size:
            http_get(
                url,
                handle,
                resume_size=have,
                headers=dict(headers),
                expected_size=size,
                displayed_filename=name,
            )
        handle.flush()
        os.fsync(handle.fileno())


def declared_by(url: str, headers: Mapping[str, str]) -> Declared:
    """Ask a server for one byte of a file, and so for its size, tag and digest.

    Not by HEAD: addresses that are signed for one method refuse another.
    """
    asked = {**headers, "Range": "bytes=0-0"}
    patience = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=asked, timeout=patience) as response:
        if response.is_error:
            response.read()
        hf_raise_for_status(response)
        found = response.headers
        size = found.get("Content-Range", "").rpartition("/")[2]
        if response.status_code != 206 and found.get("Content-Encoding", "identity") == "identity":
            size = found.get("Content-Length", "")
        etag = found.get("ETag", "")
        # A hub names size and digest on its own answer, before it redirects to the storage.
        for hop in (*response.history, response):
            size = hop.headers.get("X-Linked-Size", size)
        linked = [hop.headers.get("X-Linked-ETag", "") for hop in (*response.history, response)]
    digests = [one.strip('"') for one in linked if len(one.strip('"')) in (40, 64)]
    return Declared(
        size=int(size) if size.isdigit() else None,
        etag=etag if etag.startswith('"') else None,
        digest=digests[0] if digests else None,
    )


def matches(path: Path, digest: str) -> bool:
    """Whether a file hashes to a SHA-256 or, 40 hex digits, to a git object id."""
    git = len(digest) == 40
    content = hashlib.sha1(usedforsecurity=False) if git else hashlib.sha256()
    if git:
        content.update(f"blob {path.stat().st_size}\0".encode())  # as git hashes an object
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            content.update(chunk)
    return content.hexdigest() == digest


@contextlib.contextmanager
def download_errors(what: str, where: str) -> Iterator[None]:
    """Say in one line what went wrong between here and a server."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise CftError(
            f"{what}: HF_HUB_OFFLINE forbids the network; unset it, or copy the files here"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (404, 410):
            raise CftError(f"{what}: {where} is not there ({status}); check the address") from None
        raise CftError(f"{what}: {where} answered {status}; {AGAIN}") from None
    except HTTPError as error:
        raise CftError(
            f"{what}: {where} cannot be reached ({type(error).__name__}); check the network "
            f"and {AGAIN}"
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CftError(f"{what}: the disk is full; make room and {AGAIN}") from None
        text = " ".join(str(error).split())[:160]
        raise CftError(f"{what}: the download broke off ({text}); {AGAIN}") from None


def _part_of(target: Path, url: str, declared: Declared) -> Path:
    """Where the part lies; named by what the server declares: another version starts anew."""
    key = hashlib.sha256(repr((url, declared)).encode()).hexdigest()[:12]
    part = target.with_name(f".{target.name}.{key}{PARTIAL}")
    for stale in target.parent.glob(f".{target.name}.*{PARTIAL}"):
        if stale != part:
            stale.unlink()
    return part


@contextlib.contextmanager
def _owned(part: Path) -> Iterator[None]:
    """Keep a second download of the same file away for as long as this one lives."""
    with part.open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = not part.exists()  # renamed between the opening and the lock
        except BlockingIOError:
            taken = True
        if taken:
            raise CftError(f"{part}: another download writes it; wait for its end")
        yield


def _verified(part: Path, url: str, declared: Declared, lock: dict[str, Any] | None) -> str:
    """The SHA-256 of a part that is complete and holds what was declared and pinned."""
    with part.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size = part.stat().st_size
    if declared.size not in (None, size) or (
        declared.digest is not None and not matches(part, declared.digest)
    ):
        part.unlink()
        raise CftError(
            f"{url}: the bytes that came ({size}) are not those that the server declares; "
            "run the same command again"
        )
    if lock is not None and lock["sha256"] != sha256:
        part.unlink()
        raise CftError(
            f"{url}: SHA-256 {sha256[:12]}, but the lock beside the target pins "
            f"{lock['sha256'][:12]}; the published file has changed: remove the lock to accept it"
        )
    return sha256


def _lock_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.lock.json")


def _lock(url: str, size: int, etag: str | None, sha256: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"url": url, "size": size, "etag": etag, "sha256": sha256, "date": now}


def _read_lock(target: Path) -> dict[str, Any] | None:
    path = _lock_path(target)
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
        return {"url": str(lock["url"]), "sha256": str(lock["sha256"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise CftError(f"{path}: not a lock of a download; remove it") from None


def pinned(target: Path, url: str | None = None) -> bool:
    """Whether a downloaded file stands, verified against its lock; False where there is none.

    Args:
        target: the file.
        url: where it must have come from; None: from anywhere, such as another mirror.

    Raises:
        CftError: the file stands without a lock, is not what its lock says, or is from elsewhere.
    """
    if not target.exists():
        return False
    lock = _read_lock(target)
    if lock is None:
        raise CftError(f"{target}: exists, but was not downloaded; remove it or name another")
    if url not in (None, lock["url"]):
        raise CftError(f"{target}: was downloaded from {lock['url']}; remove it or name another")
    if not matches(target, lock["sha256"]):
        raise CftError(
            f"{target}: its bytes are not those of its lock; remove it to download it again"
        )
    return True
