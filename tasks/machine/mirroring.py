"""What grows in a run directory on a host, copied as it grows; and what to make of a bad answer."""

import base64
import contextlib
import json
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cft.errors import CftError
from cft.files import write_json
from cft.tracking.run_directory import RunDirectory
from tasks.machine import job_host
from tasks.machine.job import RECORD
from tasks.machine.remote import Result
from tasks.machine.results import ABSENT, ANSWER_SECONDS
from tasks.machine.ssh.connection import Connection
from tasks.machine.step import answer_of

WRONG_SECONDS = 600.0  # for which a host may give nothing but errors


class Mirror:
    """Copies events, log and status of the runs of one host.

    Args:
        connection: to the host.
        folder_of: the run directory on the host, of one here.
        machine: name of the kind of machine, for the record in the mirror.
        say: told when the host falls silent and when it is heard again.
    """

    def __init__(
        self,
        connection: Connection,
        folder_of: Callable[[Path], str],
        machine: str,
        say: Callable[[str], None],
    ) -> None:
        self.connection, self.folder_of, self.machine = connection, folder_of, machine
        self._say = say
        self._silent = self._wrong = 0.0  # since when

    def sync(self, run: Path) -> dict[str, Any] | None:
        """Copy what is new; the host's answer, or None when there is none.

        Raises:
            CftError: the run directory is gone there, or the host gave nothing but errors for long.
        """
        script = shlex.quote(f"{self.folder_of(run)}/job_host.py")
        while True:
            offsets = {
                path.name: path.stat().st_size
                for pattern in job_host.FOLLOWED
                for path in run.glob(pattern)
            }
            asked = shlex.quote(json.dumps(offsets))
            result = self.connection.run(
                f"exec python3 {script} sync {asked}", timeout=ANSWER_SECONDS
            )
            answer = answer_of(result)
            if answer is None:
                self._bear(run, result)
                return None
            for name, (start, data) in answer["files"].items():
                _append(run / Path(name).name, start, base64.b64decode(data))
            if not answer["more"]:
                break
        if answer["status"] and RunDirectory(run).read_status() != answer["status"]:
            write_json(run / "status.json", answer["status"])
        place = {"host": self.connection.settings.address, "folder": self.folder_of(run)}
        if not (run / RECORD).exists():
            write_json(run / RECORD, place | {"machine": self.machine})
        if self._silent:
            self._say(f"heard again after {time.monotonic() - self._silent:.0f} s")
        self._silent = self._wrong = 0.0
        return answer

    def has(self, run: Path) -> bool | None:
        """Whether the host has the run directory; None: it does not say."""
        there = shlex.quote(f"{self.folder_of(run)}/job_host.py")
        code = self.connection.run(f"test -f {there}", timeout=ANSWER_SECONDS).exit_code
        return code == 0 if code in (0, ABSENT) else None

    def _bear(self, run: Path, result: Result) -> None:
        """Bear no answer, or one that makes no sense, as far as it says nothing of the job.

        A host that is short of memory for a moment answers with an error, and its job goes on.

        Raises:
            CftError: the run directory is gone there, or there were errors only for too long.
        """
        address, now = self.connection.settings.address, time.monotonic()
        if result.exit_code is None:
            self._wrong = 0.0
        elif self.has(run) is False:
            raise CftError(
                f"{address}: {self.folder_of(run)} is not a run directory of ours any more "
                f"({result.last_words})"
            )
        else:
            self._wrong = self._wrong or now
            if now - self._wrong >= WRONG_SECONDS:
                raise CftError(
                    f"{address}: nothing but errors for {now - self._wrong:.0f} s "
                    f"({result.last_words}); mend the host and retry the run"
                )
        if not self._silent:
            self._silent = now
            why = "" if result.exit_code is None else f" ({result.last_words})"
            self._say(f"{address}: no answer{why}; the job goes on there and is waited for")


def _append(path: Path, start: int, data: bytes) -> None:
    """Make the file what it is on the host, from a byte on."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    with contextlib.closing(os.fdopen(handle, "wb", buffering=0)) as file:
        file.seek(start)
        file.write(data)
        file.truncate()
