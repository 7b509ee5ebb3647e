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
AGAIN_SECONDS = 30.0  # between two attempts to fetch an adapter
ABSENT = 1  # exit code of `test`: nothing else says that a folder is not there
FETCHED = ".fetched"  # below the run directory: what is on its way home


class Results:
    """Copies folders of runs that are complete on a host.

    Args:
        connection: to the host.
        folder_of: the run directory on the host, of one here.
        checkpoint_seconds: how old the newest checkpoint here may become while a newer one is
            there.
        adapter_seconds: for which an adapter that cannot be fetched is tried again.
        say: told what a person should know.
    """

    def __init__(
        self,
        connection: Connection,
        folder_of: Callable[[Path], str],
        checkpoint_seconds: float,
        adapter_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self.connection, self.folder_of = connection, folder_of
        self.checkpoint_seconds, self.adapter_seconds = checkpoint_seconds, adapter_seconds
        self._say = say
        self._fetching: threading.Thread | None = None
        self._fetched_at = time.monotonic()
        self._failed: dict[Path, tuple[float, float]] = {}  # when an adapter first did, and last

    def settle(self, run: Path, answer: dict[str, Any]) -> bool:
        """Bring home what the ended job has left: the adapter, or the newest checkpoint.

        An adapter is worth its host, which would be given back without it. So one that does not
        come is tried again for a while, at later calls, and a person is told.

        Returns:
            Whether the adapter is here, or there is none.

        Raises:
            CftError: it could not be fetched for too long.
        """
        if self._fetching is not None:
            self._fetching.join()
        if not answer["adapter"]:
            self.newest(run, answer["checkpoints"])
        elif not RunDirectory(run).adapter.is_dir():
            return self._adapter(run)
        return True

    def unheard(self, run: Path) -> None:
        """The host is away: that is no time in which its adapter could have been fetched."""
        self._failed.pop(run, None)

    def _adapter(self, run: Path) -> bool:
        first, last = self._failed.get(run, (0.0, 0.0))
        if last and time.monotonic() - last < AGAIN_SECONDS:
            return False
        try:
            self._fetch(run, "adapter")
        except CftError as error:
            now = time.monotonic()
            self._failed[run] = (first or now, now)
            place = f"{self.connection.settings.address}:{self.folder_of(run)}/adapter"
            if first and now - first >= self.adapter_seconds:
                raise CftError(
                    f"{place}: could not be fetched for {self.adapter_seconds:.0f} s ({error}); "
                    "mend that and retry the run, which brings it home while the host is there"
                ) from None
            if not first:
                self._say(f"{place}: not fetched ({error}); trying again, the host is kept")
            return False
        self._failed.pop(run, None)
        return True

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
        # An adapter stays; a checkpoint that the job removed meanwhile may be here in part.
        if not (beside / name).is_dir() or (name != "adapter" and self._gone(run, name)):
            shutil.rmtree(beside / name, ignore_errors=True)
            raise CftError(f"{name}: removed on the host while it was fetched")
        target = run / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (beside / name).replace(target)
        shutil.rmtree(beside, ignore_errors=True)

    def _gone(self, run: Path, name: str) -> bool:
        """Whether a folder is not on the host any more; only the host itself can say so.

        Raises:
            CftError: it does not. What arrived is kept.
        """
        there = shlex.quote(f"{self.folder_of(run)}/{name}")
        deadline = time.monotonic() + 10 * ANSWER_SECONDS
        while True:
            seen = self.connection.run(f"test -d {there}", timeout=ANSWER_SECONDS)
            if seen.exit_code in (0, ABSENT):
                return seen.exit_code == ABSENT
            if time.monotonic() >= deadline:
                raise CftError(
                    f"{self.connection.settings.address}: no answer ({seen.last_words}); what "
                    "arrived is kept"
                )
            time.sleep(1.0)
