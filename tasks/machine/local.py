"""This machine: jobs run under the supervisor, detached from whoever started them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cft.errors import CftError
from tasks.machine import process_table, supervisor
from tasks.machine.job import Handle, Job, JobState

START_SECONDS = 30.0
KERNEL_SECONDS = 5.0  # how long a killed process may take to leave, in a driver or on a dead disk


class LocalMachine:
    """Starts, polls and stops jobs on this host.

    Args:
        grace: seconds between TERM and KILL when a job is stopped.
    """

    name = "local"

    def __init__(self, grace: float = 10.0) -> None:
        self.grace = grace

    def start(self, job: Job) -> Handle:
        """Start the job, or attach to the one that lives in its run directory.

        Of two starts at the same moment one wins, by the supervisor's lock, and the other
        attaches.

        Raises:
            CftError: the supervisor did not come up.
        """
        if (living := self.find(job.run)) is not None:
            return living
        job.run.mkdir(parents=True, exist_ok=True)
        with (job.run / "supervisor.log").open("ab") as output:
            process = subprocess.Popen(
                [
                    sys.executable,
                    str(Path(supervisor.__file__)),
                    str(job.run),
                    "--grace",
                    str(self.grace),
                    *(["--slot", str(job.slot)] if job.slot else []),
                    "--",
                    *job.command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C and the end of the watcher's session pass it by
                env={
                    name: value
                    for name, value in {**os.environ, **job.environment}.items()
                    if value is not None
                },
            )
        try:
            if (handle := self._come_up(job.run, process)) is not None:
                return handle
        except BaseException:  # a signal: whoever asked for the job does not know it yet
            self._end(process)
            raise
        self._end(process)
        tail = (job.run / "supervisor.log").read_text(encoding="utf-8", errors="replace")[-500:]
        raise CftError(
            f"{job.run}: the supervisor did not start ({tail.strip() or 'no output'}); "
            "mend that and run again"
        )

    def _come_up(self, run: Path, process: "subprocess.Popen[bytes]") -> Handle | None:
        """The handle once the supervisor, or one that was quicker, has written its record."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            code = process.poll()
            record = supervisor.read_json(run / "supervisor.json")
            if record.get("pid") == process.pid:
                return self._handle(run, record, attached=False)
            if code == supervisor.BUSY and (living := self.find(run)) is not None:
                return living
            if code not in (None, supervisor.BUSY):
                return None
            time.sleep(0.02)
        return None

    def find(self, run: Path) -> Handle | None:
        """The handle of the job that lives in a run directory, or None."""
        record = supervisor.read_json(run / "supervisor.json")
        if not record:
            return None
        handle = self._handle(run, record, attached=True)
        return handle if self._alive(handle) else None

    def poll(self, handle: Handle) -> JobState:
        """What the job is doing now.

        A job whose supervisor was killed counts as running while any of its processes lives. One
        that vanished without an exit record (both killed, or the host rebooted) is ``killed``,
        and its status file says so from then on.
        """
        status = Path(handle.run, "status.json")
        if self._alive(handle):
            record = supervisor.read_json(status)
            if record.get("state") == "waiting":
                return JobState("waiting", waits_for=record.get("waits_for"))
            return JobState("running")
        record = supervisor.read_json(status)
        if record.get("state", "running") in ("waiting", "running"):
            record |= {
                "state": "killed",
                "exit_code": None,
                "signal": None,
                "ended": time.time(),
                "reason": "the job and its supervisor vanished",
            }
            supervisor.write_json(status, record)
        return JobState(record["state"], record.get("exit_code"), record.get("signal"))

    def stop(self, handle: Handle) -> JobState:
        """TERM to every process of the job, KILL after the grace; returns when none is left.

        It takes at most twice the grace and some seconds: what the kernel does not let go by then
        is still ``running`` in the answer.
        """
        if self._supervisor_lives(handle):
            with contextlib.suppress(ProcessLookupError):
                os.kill(handle.pid, signal.SIGTERM)
            deadline = time.monotonic() + self.grace + 5
            while self._supervisor_lives(handle) and time.monotonic() < deadline:
                time.sleep(0.05)
            if self._supervisor_lives(handle):  # it hangs: its job is ended from here
                with contextlib.suppress(ProcessLookupError):
                    os.kill(handle.pid, signal.SIGKILL)
        process_table.end_all(
            lambda: process_table.members(handle.token), self.grace, KERNEL_SECONDS
        )
        return self.poll(handle)

    def _alive(self, handle: Handle) -> bool:
        return self._supervisor_lives(handle) or bool(process_table.members(handle.token))

    @staticmethod
    def _supervisor_lives(handle: Handle) -> bool:
        return process_table.start_time(handle.pid) == handle.start

    def _handle(self, run: Path, record: dict[str, object], *, attached: bool) -> Handle:
        try:
            return Handle(
                machine=self.name,
                run=str(run),
                pid=int(str(record["pid"])),
                # Start times count from the boot: after a reboot a pid may meet its double.
                start=str(record["start"])
                if record.get("boot_id") == process_table.boot_id()
                else "before the last boot",
                token=str(record["token"]),
                attached=attached,
            )
        except (KeyError, ValueError):
            raise CftError(
                f"{run / 'supervisor.json'}: not a supervisor's record "
                f"({json.dumps(record)[:100]}); remove the file"
            ) from None

    @staticmethod
    def _end(process: "subprocess.Popen[bytes]") -> None:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
