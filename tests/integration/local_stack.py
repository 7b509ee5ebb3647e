"""The whole system on this machine, as `cft up --detach` starts it, in a folder of its own."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cft.home import Home
from deployments.stack.members import members
from deployments.stack.ports import is_free
from flows.living_stack import is_up, read_record
from tests.conftest import ROOT
from tests.integration.migrated import migrated
from tests.integration.server import free_port

_OURS = ("PREFECT_", "MLFLOW_", "CFT_")


@dataclass(frozen=True)
class LocalStack:
    """A stack that is up."""

    home: Home
    environment: Mapping[str, str]  # of the commands that start and end it
    prefect: str
    mlflow: str

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.home.stack / "logs"

    def run(self, *words: str, timeout: float = 600) -> str:
        """What ``cft WORDS`` prints; it must succeed."""
        return run(self.environment, self.logs.parent, *words, timeout=timeout)

    def services(self) -> dict[str, dict[str, Any]]:
        """What `cft status` says of each service."""
        record = json.loads(self.run("status", "--json"))
        return {one["name"]: one for one in record["services"]}


def run(environment: Mapping[str, str], place: Path, *words: str, timeout: float = 600) -> str:
    """What ``cft WORDS`` prints; it must succeed."""
    place.mkdir(parents=True, exist_ok=True)
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "cft.cli", *words],
        cwd=place,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert ended.returncode == 0, f"cft {' '.join(words)}: {ended.stdout}{ended.stderr[-4000:]}"
    return ended.stdout


@contextlib.contextmanager
def local_stack(
    folder: Path, more: Mapping[str, str] | None = None, pools: tuple[str, ...] = ("cpu",)
) -> Iterator[LocalStack]:
    """A stack on free ports while the block runs; no process and no port of it is left afterwards.

    Args:
        folder: gets the state folder.
        more: environment of the command that starts it.
        pools: that it serves.
    """
    home = Home(folder / "home")
    migrated(home.prefect)
    kept = {name: one for name, one in os.environ.items() if not name.startswith(_OURS)}
    environment = kept | {"CFT_HOME": str(home.path), "PYTHONPATH": str(ROOT)} | dict(more or {})
    ports = {"--prefect-port": free_port(), "--mlflow-port": free_port()}
    words = [str(word) for pair in ports.items() for word in pair]
    for pool in pools:
        words += ["--pool", pool]
    try:
        run(environment, home.stack, "up", "--detach", *words, timeout=900)
        urls = {one["name"]: one["url"] for one in read_record(home)["services"]}
        yield LocalStack(home, environment, urls["prefect"], urls["mlflow"])
    finally:
        token = str(read_record(home).get("token", ""))
        run(environment, home.stack, "down", "--yes")
        assert not is_up(home)
        assert not token or not members(token)
        assert all(is_free(port) for port in ports.values())
