"""The host's side of ``cft machines doctor``: one look that changes nothing.

Only the standard library is used and nothing newer than Python 3.10 is run: the text of this file
is fed to ``python3 -`` together with a call of :func:`look`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any


def look(base: str, environments: str, mark: str) -> dict[str, Any]:
    """What lies in our folders.

    Args:
        base: our folder; ``~/`` is the user's home.
        environments: folder of the environments.
        mark: name of the file that a whole environment has.
    """
    ours, built = Path(base).expanduser(), Path(environments).expanduser()
    return {
        "python": list(sys.version_info[:3]),
        "base": room(ours),
        "built": room(built),
        "environments": sorted(path.parent.name for path in built.glob(f"*/{mark}")),
        "code": sorted(
            path.name for path in ours.glob("code/*") if path.is_dir() and "." not in path.name
        ),
        "jobs": [
            [path.parent.parent.name, path.parent.name, _state(path.parent)]
            for path in sorted(ours.glob("runs/*/*/supervisor.lock"))
            if _lives(path)
        ],
    }


def room(folder: Path) -> dict[str, Any]:
    """Whether a folder is there or can be made, and what is free where it is."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    return {
        "path": str(folder),
        "exists": there == folder,
        "writable": os.access(there, os.W_OK | os.X_OK),
        "free": shutil.disk_usage(there).free,
    }


def _state(run: Path) -> str:
    try:
        return str(json.loads((run / "status.json").read_text(encoding="utf-8"))["state"])
    except (OSError, ValueError, KeyError, TypeError):
        return "running"


def _lives(lock: Path) -> bool:
    """Whether the supervisor that has this lock lives."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
