"""The host's side of a look that changes nothing: what lies there, and what of ours runs.

Only the standard library is used and nothing newer than Python 3.10 is run: the text of this file
is fed to ``python3 -`` together with a call of :func:`look` or :func:`at_work`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

MARK = b"CFT_JOB="  # in the environment of every process of a job


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


def at_work(base: str, spared: str) -> list[str]:
    """What of ours runs on this host, each by its name, whoever started it.

    A job counts while its supervisor lives, and while any process of it does: ranks outlive a
    supervisor that was killed. So does what has another folder, such as a run of this host itself.

    Args:
        base: our folder; ``~/`` is the user's home.
        spared: folder of the steps that do not count.
    """
    runs = Path(base).expanduser() / "runs"
    locks = [path for path in sorted(runs.glob("*/*/supervisor.lock")) if _lives(path)]
    found = dict.fromkeys(_name(path.parent) for path in locks)
    ours = {_token(path): _name(path.parent) for path in runs.glob("*/*/supervisor.json")}
    steps = {_token(path) for path in Path(spared).expanduser().glob("*/supervisor.json")}
    for pid, token in sorted(_marked()):
        if token not in steps:
            found[ours.get(token, f"process {pid}")] = None
    return list(found)


def room(folder: Path) -> dict[str, Any]:
    """Whether a folder is there or can be made, and what is free where it is."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    return {
        "path": str(folder),
        "exists": there == folder,
        "writable": os.access(there, os.W_OK | os.X_OK),
        "free": shutil.disk_usage(there).free,
    }


def _name(run: Path) -> str:
    return f"{run.parent.name} {run.name}"


def _token(record: Path) -> str:
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _marked() -> set[tuple[int, str]]:
    """Pid and token of every process of a job that this user may see."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # gone, or another user's
            for entry in path.read_bytes().split(b"\0"):
                if entry.startswith(MARK):
                    token = entry[len(MARK) :].decode(errors="replace")
                    found.add((int(path.parent.name), token))
    return found


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
