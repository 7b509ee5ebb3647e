"""Which checkpoints a run has: their folders, for whoever trains on, copies or waits for them."""

import re
import shutil
from pathlib import Path

from cft.files import PARTIAL
from cft.tracking.run_directory import RunDirectory

KEPT = 2  # newest checkpoints that stay; one would do unless its disk block is bad
_NAME = re.compile(r"checkpoint-(\d+)")


def checkpoints(run: RunDirectory) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    if not run.checkpoints.is_dir():
        return []
    found = [(_NAME.fullmatch(path.name), path) for path in run.checkpoints.iterdir()]
    return [path for _, path in sorted((int(name[1]), path) for name, path in found if name)]


def newest_checkpoint(run: RunDirectory) -> Path | None:
    """The newest complete checkpoint, or None."""
    complete = checkpoints(run)
    return complete[-1] if complete else None


def remove_partials(run: RunDirectory) -> None:
    """Remove what a killed process left half-written. Only for the job that owns the run."""
    if run.checkpoints.is_dir():
        for path in run.checkpoints.glob(f".*{PARTIAL}"):
            shutil.rmtree(path, ignore_errors=True)
