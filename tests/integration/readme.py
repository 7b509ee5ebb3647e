"""The README as data: its commands and its Python, in order."""

import re
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    """Contents of the fenced blocks in ``language``."""
    return [body for name, body in FENCE.findall(path.read_text("utf-8")) if name == language]


def commands(path: Path) -> list[str]:
    """Every command line of the bash blocks."""
    return [
        line
        for block in blocks(path, "bash")
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    ]
