"""The project's code as one file that is the same wherever and whenever it is made.

A host gets it once for each content: it is named by its digest, and unpacked whole or not at all.
"""

import hashlib
import io
import os
import re
import shlex
import stat
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cft
from cft.errors import CftError
from tasks.machine.remote import Result
from tasks.machine.ssh.connection import Connection
from tasks.machine.transfer.client import push

PACKAGES = ("cft", "flows", "tasks", "deployments")
MOST_BYTES = 64 * 1024 * 1024
UNPACK_SECONDS = 300.0
# Names of what must never leave this machine, tracked or not.
_SECRET = re.compile(
    r"^(\.env(\..*)?|\.netrc|\.pypirc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)(\.pub)?|"
    r"(.*[._-])?(secrets?|credentials?|token)(\.(json|ya?ml|toml|txt|env|ini))?|"
    r".*\.(pem|key|p12|pfx|keystore|jks|ppk|kdbx))$",
    re.IGNORECASE,
)
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_CACHES = {"__pycache__", ".git", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


@dataclass(frozen=True)
class Code:
    """One state of the code.

    Attributes:
        digest: of the paths and contents; names it on a host.
        data: a tar archive without compression.
        files: paths in it.
        left_out: paths that look like secrets, or whose content does.
    """

    digest: str
    data: bytes
    files: tuple[str, ...]
    left_out: tuple[str, ...]


def project_code(root: Path | None = None) -> Code:
    """The code that runs here, changes that are not committed included.

    Args:
        root: of the project. In a git checkout: the files that git tracks, and new ones that it
            does not ignore. Elsewhere: the Python files of the installed packages.

    Raises:
        CftError: it is larger than any code, or a file cannot be read.
    """
    root = root or Path(cft.__file__).resolve().parents[1]
    kept: dict[str, bytes] = {}
    runs: set[str] = set()
    left_out, size = [], 0
    for name in _files(root):
        path = root / name
        try:
            known = path.lstat()
            if not stat.S_ISREG(known.st_mode):  # a link may lead anywhere
                continue
            size += known.st_size
            if size > MOST_BYTES:
                raise CftError(
                    f"{root}: more than {MOST_BYTES >> 20} MiB of code at {name}; add what is no "
                    "code to .gitignore"
                )
            data = path.read_bytes()
        except FileNotFoundError:  # tracked, and deleted here
            continue
        except OSError as error:
            raise CftError(f"{path}: {error.strerror}; mend that and run again") from None
        if _SECRET.match(path.name) or _PRIVATE_KEY.search(data):
            left_out.append(name)
            continue
        kept[name] = data
        if known.st_mode & 0o100:
            runs.add(name)
    buffer = io.BytesIO()
    # Names, contents and who may run them alone: no times, no users, no order of a file system.
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(kept):
            about = tarfile.TarInfo(name)
            about.size = len(kept[name])
            about.mode = 0o755 if name in runs else 0o644
            archive.addfile(about, io.BytesIO(kept[name]))
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()[:16]
    return Code(digest, data, tuple(sorted(kept)), tuple(sorted(left_out)))


def _files(root: Path) -> list[str]:
    listed = None
    if (root / ".git").exists():
        try:
            listed = subprocess.run(
                ["git", "-C", str(root), "ls-files", "-z", "-co", "--exclude-standard"],
                capture_output=True, timeout=60, check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise CftError(f"{root}: git cannot list its files ({error}); install git") from None
    if listed is not None:
        return [os.fsdecode(one) for one in listed.stdout.split(b"\0") if one]
    found = []
    for package in PACKAGES:
        for path in (root / package).rglob("*"):
            name = path.relative_to(root)
            if not _CACHES.intersection(name.parts) and path.is_file():
                found.append(name.as_posix())
    return found


def ship_code(connection: Connection, code: Code, base: str) -> str:
    """Bring code to a host, unless it is there.

    Args:
        connection: to the host.
        code: what to bring.
        base: folder on the host; ``~/`` is the user's home.

    Returns:
        The absolute path of the folder with the code.

    Raises:
        CftError: it did not arrive or could not be unpacked.
    """
    host = connection.settings.address
    there = _unpacked(connection.run(_script(base, code.digest), timeout=UNPACK_SECONDS), host)
    if there is None:
        with tempfile.TemporaryDirectory(prefix="cft-code-") as scratch:
            Path(scratch, f"{code.digest}.tar").write_bytes(code.data)
            push(connection, Path(scratch), f"{base.rstrip('/')}/code")
        answer = connection.run(_script(base, code.digest), timeout=UNPACK_SECONDS)
        there = _unpacked(answer, host)
    if there is None:
        raise CftError(f"{host}: the code arrived and is gone again; run again")
    return there


def _unpacked(answer: Result, host: str) -> str | None:
    """The folder, or None where the archive is missing yet."""
    if answer.exit_code == 4:
        return None
    if not answer.ok:
        raise CftError(f"{host}: the code cannot be unpacked there ({answer.last_words})")
    return answer.stdout.splitlines()[-1]


def _script(base: str, digest: str) -> str:
    """Print the folder; unpack it first where only the archive is there; 4 where that is missing.

    Of two that unpack at the same time each writes beside, and the first one's folder stays.
    """
    base = base.rstrip("/")
    place = f'"$HOME"{shlex.quote(base[1:])}' if base.startswith("~/") else shlex.quote(base)
    return (
        f"set -e; cd {place}/code 2>/dev/null || exit 4; "
        f"if [ ! -d {digest} ]; then [ -f {digest}.tar ] || exit 4; "
        f"beside=$(mktemp -d {digest}.XXXXXX); chmod 755 $beside; "
        f"tar -xf {digest}.tar -C $beside --no-same-owner; sync -f $beside 2>/dev/null || sync; "
        f"mv -T $beside {digest} 2>/dev/null || rm -rf $beside; rm -f {digest}.tar; fi; "
        f'echo "$PWD/{digest}"'
    )
