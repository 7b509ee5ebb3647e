"""A finished two-stage run of the command line, read back from what it left."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cft.evaluation.figures import Figure
from cft.evaluation.result import load_result
from tests.integration.command import Ended


@dataclass(frozen=True)
class Pilot:
    """The command's end, its state folder and its result."""

    ended: Ended
    home: Path
    result: dict[str, Any]

    def figure(self, model: str, metric: str) -> Figure:
        """A figure of ``base``, ``stage1`` or ``stage2``."""
        return load_result(Path(self.result["evaluations"][model])).evaluation.figures[metric]


def finished_pilot(ended: Ended, home: Path) -> Pilot:
    """The newest run under ``home``; fails with the command's output when it did not end well."""
    assert ended.code == 0, ended.output[-6000:]
    newest = max((home / "runs").glob("*/result.json"), key=lambda path: path.stat().st_mtime)
    return Pilot(ended, home, json.loads(newest.read_text("utf-8")))
