"""Which files a folder has, and where a name may lead that the other end says."""

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

PARTS = ".cft-parts"  # folder of what has not arrived whole yet


class BadNameError(Exception):
    """A name that would lead out of the folder."""


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
