"""Which code made a result."""

import subprocess
from pathlib import Path
from typing import Any

import cft
from cft.files import digest_code


def code_version() -> dict[str, Any]:
    """Version, digest of the package's source and, in a git checkout, commit and cleanliness."""
    root = Path(cft.__file__).resolve().parents[1]
    found: dict[str, Any] = {"version": cft.__version__, "digest": digest_code("cft")}
    commit = _git(root, "rev-parse", "HEAD")
    # Installed as a package below somebody else's repository, that commit is not ours.
    if commit and _git(root, "ls-files", "--error-unmatch", "cft/__init__.py") is not None:
        changes = _git(root, "status", "--porcelain", "--untracked-files=no")
        found |= {"git_commit": commit, "git_dirty": bool(changes)}
    return found


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
