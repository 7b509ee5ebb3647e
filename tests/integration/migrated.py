"""Prefect's database as its server leaves it on first start: made once, then copied.

A server on a new state folder spends 14 of its first 22 CPU seconds on migrations. That a new
folder works is shown by `test_readme.py` and `test_stack.py`, which begin with none.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import prefect

NAME = "prefect.db"  # as Prefect calls it in its home


def migrated(prefect_home: Path, name: str = NAME) -> Path:
    """Put an empty database of the installed version into a folder; the folder."""
    prefect_home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_template(), prefect_home / name)
    return prefect_home


def _template() -> Path:
    """The database that all copies are of, whoever of the test processes needs it first."""
    kept = Path(tempfile.gettempdir()) / f"cft-tests-{os.getuid()}"
    kept.mkdir(mode=0o700, exist_ok=True)
    made = kept / f"prefect-{prefect.__version__}.db"
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with tempfile.TemporaryDirectory() as folder:
                hidden = ("PREFECT_", "CFT_")
                outer = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
                subprocess.run(
                    [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
                    env=outer | {"PREFECT_HOME": folder},
                    check=True,
                    capture_output=True,
                )
                beside = made.with_suffix(".partial")
                shutil.copyfile(Path(folder) / NAME, beside)
                beside.replace(made)
    return made
