"""Where a fetched backbone came from."""

import json
from dataclasses import dataclass
from pathlib import Path

SOURCE_FILE = "source.json"  # in a fetched folder: its repository, its commit, and when


@dataclass(frozen=True)
class Source:
    """A repository on the hub at one commit; the commit is empty where nobody wrote it down."""

    repo: str
    revision: str


def fetched_from(backbone: Path) -> Source | None:
    """What ``source.json`` pins; None for a folder that was not fetched."""
    try:
        kept = json.loads((backbone / SOURCE_FILE).read_text(encoding="utf-8"))
        return Source(str(kept["repo"]), str(kept.get("revision") or ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
