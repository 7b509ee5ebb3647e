"""Reading a model repository on the hub: what it holds, and its files, resumed and verified.

The client library's own folder download gives every attempt a temporary file of its own and
removes it on failure, so a broken download of gigabytes starts anew. Here the part of a file stays
under the name of its content and the next attempt asks for the rest of it.
"""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers

from cft.errors import CftError

_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: its name, its bytes and what they must hash to."""

    name: str
    size: int
    digest: str  # SHA-256 of a large file, else the git object id (SHA-1) of a small one

    def verify(self, path: Path) -> bool:
        """Whether the bytes at ``path`` are those of this file."""
        if path.stat().st_size != self.size:
            return False
        content = (
            hashlib.sha256() if len(self.digest) == 64 else hashlib.sha1(usedforsecurity=False)
        )
        if len(self.digest) != 64:
            content.update(f"blob {self.size}\0".encode())  # as git hashes an object
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                content.update(chunk)
        return content.hexdigest() == self.digest


@dataclass(frozen=True)
class RemoteModel:
    """A repository at one commit."""

    repo: str
    sha: str
    files: dict[str, RemoteFile]


def endpoint() -> str:
    """Address of the hub: ``HF_ENDPOINT`` where it is set."""
    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def describe(repo: str, revision: str) -> RemoteModel:
    """What a repository holds at a branch, tag or commit.

    Raises:
        CftError: no such repository or revision, no access, or no network.
    """
    with hub_errors(repo, revision):
        info = HfApi(endpoint=endpoint()).model_info(repo, revision=revision, files_metadata=True)
    files = {}
    for one in info.siblings or []:
        digest, size = (one.lfs.sha256, one.lfs.size) if one.lfs else (one.blob_id, one.size)
        if digest is None or size is None or info.sha is None:
            raise CftError(
                f"{repo}: {endpoint()} does not tell size and digest of {one.rfilename}; "
                "use another endpoint"
            )
        files[one.rfilename] = RemoteFile(one.rfilename, size, digest)
    return RemoteModel(repo, str(info.sha), files)


def download(model: RemoteModel, file: RemoteFile, folder: Path, parts: Path) -> None:
    """Put one verified file into ``folder``; a part that is left in ``parts`` is continued.

    Raises:
        CftError: no access, no network, a full disk, or bytes that are not those of the commit.
    """
    target = folder / file.name
    if target.is_file() and target.stat().st_size == file.size:
        return  # it was verified before it was given this name
    # Named by content: a part of another commit's file is never continued.
    part = parts / f"{file.name}.{file.digest[:16]}"
    have = part.stat().st_size if part.is_file() else 0
    if have > file.size:
        part.unlink()
        have = 0
    url = hf_hub_url(model.repo, file.name, revision=model.sha, endpoint=endpoint())
    with hub_errors(model.repo, model.sha), part.open("ab") as handle:
        # An append handle reports position 0 until it has written.
        handle.seek(0, os.SEEK_END)
        if have < file.size:
            http_get(
                url,
                handle,
                resume_size=have,
                headers=build_hf_headers(),
                expected_size=file.size,
                displayed_filename=file.name,
            )
        handle.flush()
        os.fsync(handle.fileno())
    if not file.verify(part):
        part.unlink()
        raise CftError(
            f"{model.repo}/{file.name}: the bytes that came are not those of commit "
            f"{model.sha[:12]}; run the same command again"
        )
    part.replace(target)


@contextlib.contextmanager
def hub_errors(repo: str, revision: str) -> Iterator[None]:
    """Say in one line what went wrong between here and the hub."""
    again = "run the same command again, it goes on where it stopped"
    try:
        yield
    except GatedRepoError:
        raise CftError(
            f"{repo}: the repository is gated; accept its terms on {endpoint()}/{repo} and set "
            "HF_TOKEN to a token of that account"
        ) from None
    except RepositoryNotFoundError:
        raise CftError(
            f"{repo}: no such repository on {endpoint()}, or a private one; check the name, or set "
            "HF_TOKEN to a token that may read it"
        ) from None
    except RevisionNotFoundError:
        raise CftError(
            f"{repo}: no revision {revision!r}; name a branch, a tag or a commit with --revision"
        ) from None
    except OfflineModeIsEnabled:
        raise CftError(
            f"{repo}: HF_HUB_OFFLINE forbids the network; unset it, or copy the folder here"
        ) from None
    except HFValidationError:
        raise CftError(
            f"{repo}: not a repository name; give OWNER/NAME as on {endpoint()}"
        ) from None
    except HfHubHTTPError as error:
        raise CftError(
            f"{repo}: {endpoint()} answered {error.response.status_code}; {again}"
        ) from None
    except HTTPError as error:
        raise CftError(
            f"{repo}: {endpoint()} cannot be reached ({type(error).__name__}); check the network "
            f"and {again}"
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CftError(f"{repo}: the disk is full; make room and {again}") from None
        text = " ".join(str(error).split())[:160]
        raise CftError(f"{repo}: the download broke off ({text}); {again}") from None
