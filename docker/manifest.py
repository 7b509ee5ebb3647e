"""What lies in a backup: versions, and size and SHA-256 of every file.

    manifest.py write FOLDER [NAME=VALUE...] | check FOLDER

``check`` says on stderr what is missing, changed or too much, and exits with 1.
"""

import hashlib
import importlib.metadata
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

FORMAT = 1
NAME = "manifest.json"
VERSIONED = ("cft", "prefect", "mlflow")


def write(folder: Path, facts: dict[str, str]) -> None:
    """Write the manifest of all that lies in the folder."""
    content = {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONED},
        **facts,
        "files": {name: described(folder / name) for name in names(folder)},
    }
    (folder / NAME).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def problems(folder: Path) -> list[str]:
    """What keeps the folder from being the backup that its manifest describes."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        form, files = content["format"], content["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{folder / NAME}: no manifest of a backup ({error})"]
    if form != FORMAT:
        return [f"{folder / NAME}: format {form}, this version reads {FORMAT}"]
    found = []
    for name in sorted({*files, *names(folder)}):
        if name not in files:
            found.append(f"{folder / name}: not in the manifest")
        elif not (folder / name).is_file():
            found.append(f"{folder / name}: missing")
        elif described(folder / name) != files[name]:
            found.append(f"{folder / name}: not the file that was saved (size or SHA-256)")
    return found


def names(folder: Path) -> list[str]:
    """Files of a backup, without the manifest."""
    return sorted(one.name for one in folder.iterdir() if one.name != NAME)


def described(path: Path) -> dict[str, int | str]:
    """Bytes and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def main(words: list[str]) -> int:
    """Exit status of one verb."""
    match words:
        case ["write", folder, *facts] if all("=" in fact for fact in facts):
            write(Path(folder), dict(fact.split("=", 1) for fact in facts))
            return 0
        case ["check", folder]:
            found = problems(Path(folder))
            print("\n".join(found), end="\n" if found else "", file=sys.stderr)
            return 1 if found else 0
        case _:
            print(__doc__, file=sys.stderr)
            return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
