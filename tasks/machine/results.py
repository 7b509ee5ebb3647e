"""What a job on another host leaves, brought home: checkpoints on the way, then the adapter."""

import logging
import shlex
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cft.errors import CftError
from cft.tracking.run_directory import RunDirectory
from cft.training.checkpoint_folders import KEPT, checkpoints
from tasks.machine.ssh.connection import Connection
from tasks.machine.transfer.client import pull

logger = logging.getLogger("cft.machine")

ANSWER_SECONDS = 60.0
FETCHED = ".fetched"  # below the run directory: what is on its way home


class Results:
    """Copies folders of runs that are complete on a host.

    Args:
        connection: to the host.
        folder_of: the run directory on the host, of one here.
        checkpoint_seconds: how old the newest checkpoint here may become while a newer one is
            there.
    """

    def __init__(
        self,
        connection: Connection,
        folder_of: Callable[[Path], str],
        checkpoint_seconds: float,
    ) -> None:
        self.connection, self.folder_of = connection, folder_of
        self.checkpoint_seconds = checkpoint_seconds
        self._fetching: threading.Thread | None = None
        self._fetched_at = time.monotonic()

    def settle(self, run: Path, answer: dict[str, Any]) -> None:
        """Bring home what the ended job has left: the adapter, or the newest checkpoint."""
        if self._fetching is not None:
            self._fetching.join()
        if answer["adapter"] and not RunDirectory(run).adapter.is_dir():
            self._fetch(run, "adapter")
        elif not answer["adapter"]:
            self.newest(run, answer["checkpoints"])

    def follow(self, run: Path, answer: dict[str, Any]) -> None:
        """Fetch the newest checkpoint beside the watching, when it is time for one."""
        if time.monotonic() - self._fetched_at <= self.checkpoint_seconds:
            return
        if self._fetching is not None and self._fetching.is_alive():
            return
        self._fetched_at = time.monotonic()
        self._fetching = threading.Thread(
            target=self.newest,
            args=(run, answer["checkpoints"]),
            name="cft-checkpoint",
            daemon=True,
        )
        self._fetching.start()

    def newest(self, run: Path, names: list[str]) -> None:
        """Copy the newest checkpoint of the host, unless it is here; keep no more than the newest.

        A checkpoint that the job removes meanwhile is left: there is a newer one by then.
        """
        local = RunDirectory(run)
        if not names or (local.checkpoints / names[-1]).is_dir():
            return
        name = f"checkpoints/{names[-1]}"
        try:
            self._fetch(run, name)
        except CftError as error:
            logger.warning("%s: not fetched (%s)", name, error)
            return
        for old in checkpoints(local)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def _fetch(self, run: Path, name: str) -> None:
        """Copy a folder that is complete on the host; it appears here whole or not at all."""
        beside = run / FETCHED
        pull(self.connection, self.folder_of(run), beside, [name])
        still = self.connection.run(
            f"test -d {shlex.quote(f'{self.folder_of(run)}/{name}')}", timeout=ANSWER_SECONDS
        )
        if not still.ok:
            shutil.rmtree(beside / name, ignore_errors=True)
            raise CftError(f"{name}: removed on the host while it was fetched")
        target = run / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (beside / name).replace(target)
        shutil.rmtree(beside, ignore_errors=True)
