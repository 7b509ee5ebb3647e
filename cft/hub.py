"""Reading a repository on the hub: what it holds, and its files, resumed and verified.

The client library's own folder download gives every attempt a temporary file of its own and
removes it on failure, so a broken download of gigabytes starts anew. Here the part of a file stays
under the name of its content and the next attempt asks for the rest of it.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers

from cft.download import continue_part, download_errors, matches
from cft.errors import CftError

PARTS = ".parts"  # inside a partial folder: files that are not complete


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: its name, its bytes and what they must hash to."""

    name: str
    size: int
    digest: str  # SHA-256 of a large file, else the git object id (SHA-1) of a small one

    def verify(self, path: Path) -> bool:
        """Whether the bytes at ``path`` are those of this file."""
        return path.stat().st_size == self.size and matches(path, self.digest)


@dataclass(frozen=True)
class RemoteRepository:
    """A repository at one commit."""

    repo: str
    sha: str
    files: dict[str, RemoteFile]
    kind: Literal["model", "dataset"] = "model"


def endpoint() -> str:
    """Address of the hub: ``HF_ENDPOINT`` where it is set."""
    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def describe(
    repo: str, revision: str, kind: Literal["model", "dataset"] = "model"
) -> RemoteRepository:
    """What a repository holds at a branch, tag or commit.

    Raises:
        CftError: no such repository or revision, no access, or no network.
    """
    with hub_errors(repo, revision):
        api = HfApi(endpoint=endpoint())
        ask = api.dataset_info if kind == "dataset" else api.model_info
        info = ask(repo, revision=revision, files_metadata=True)
    files = {}
    for one in info.siblings or []:
        digest, size = (one.lfs.sha256, one.lfs.size) if one.lfs else (one.blob_id, one.size)
        if digest is None or size is None or info.sha is None:
            raise CftError(
                f"{repo}: {endpoint()} does not tell size and digest of {one.rfilename}; "
                "use another endpoint"
            )
        files[one.rfilename] = RemoteFile(one.rfilename, size, digest)
    return RemoteRepository(repo, str(info.sha), files, kind)


def download(repository: RemoteRepository, file: RemoteFile, folder: Path) -> None:
    """Put one verified file into ``folder``; a part that is left in its ``.parts`` is continued.

    Raises:
        CftError: no access, no network, a full disk, or bytes that are not those of the commit.
    """
    target = folder / file.name
    if target.is_file() and target.stat().st_size == file.size:
        return  # it was verified before it was given this name
    # Named by content: a part of another commit's file is never continued.
    part = folder / PARTS / f"{file.name.replace('/', '--')}.{file.digest[:16]}"
    url = hf_hub_url(
        repository.repo,
        file.name,
        repo_type=repository.kind,
        revision=repository.sha,
        endpoint=endpoint(),
    )
    with hub_errors(repository.repo, repository.sha):
        continue_part(url, part, file.size, build_hf_headers(), file.name)
    if not file.verify(part):
        part.unlink()
        raise CftError(
            f"{repository.repo}/{file.name}: the bytes that came are not those of commit "
            f"{repository.sha[:12]}; run the same command again"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)


@contextlib.contextmanager
def owned(partial: Path) -> Iterator[None]:
    """Keep a second fetch into the same folder away for as long as this one lives."""
    with hub_errors(partial.name, ""):
        (partial / PARTS).mkdir(parents=True, exist_ok=True)
    handle = os.open(partial / PARTS, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CftError(f"{partial}: another fetch writes it; wait for its end") from None
    else:
        yield
    finally:
        os.close(handle)
        with contextlib.suppress(OSError):  # what holds a part of a file stays for the next attempt
            (partial / PARTS).rmdir()
            partial.rmdir()


def require_room(repo: str, files: Iterable[RemoteFile], partial: Path) -> None:
    """Refuse a fetch whose files cannot fit on the disk.

    Raises:
        CftError: naming what is still to come and what is free.
    """
    have = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    need = sum(file.size for file in files) - have
    free = shutil.disk_usage(partial).free
    if need > free:
        raise CftError(
            f"{repo}: {need / 1e9:.1f} GB are still to come, but {partial.parent} has "
            f"{free / 1e9:.1f} GB free; make room or name another disk by --output"
        )


def keep_only(partial: Path, files: Iterable[RemoteFile]) -> None:
    """Remove what another commit left: a file of an equal name may have other bytes."""
    by_name = {file.name: file for file in files}
    for path in [one for one in partial.rglob("*") if one.is_file()]:
        name = path.relative_to(partial)
        if name.parts[0] == PARTS:
            continue
        file = by_name.get(name.as_posix())
        if file is None or not file.verify(path):
            path.unlink()


@contextlib.contextmanager
def hub_errors(repo: str, revision: str) -> Iterator[None]:
    """Say in one line what went wrong between here and the hub."""
    with download_errors(repo, endpoint()):
        try:
            yield
        except GatedRepoError:
            raise CftError(
                f"{repo}: the repository is gated; accept its terms on {endpoint()}/{repo} and set "
                "HF_TOKEN to a token of that account"
            ) from None
        except RepositoryNotFoundError:
            raise CftError(
                f"{repo}: no such repository on {endpoint()}, or a private one; check the name, or "
                "set HF_TOKEN to a token that may read it"
            ) from None
        except RevisionNotFoundError:
            raise CftError(
                f"{repo}: no revision {revision!r}; name a branch, a tag or a commit with "
                "--revision"
            ) from None
        except HFValidationError:
            raise CftError(
                f"{repo}: not a repository name; give OWNER/NAME as on {endpoint()}"
            ) from None
