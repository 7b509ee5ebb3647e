"""A host behind SSH as a machine: its run directory is mirrored here, and nobody sees a difference.

The job runs detached on the host. Here its events, its log and its status are copied as they grow,
from the byte at which the copy ends, so whoever watches the local run directory watches the job,
and a watcher that died is replaced by any other. Checkpoints come home while it trains, the adapter
before anybody may let the host go. A host that does not answer says nothing of its job, which is
waited for as one that runs.
"""

import logging
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cft.errors import CftError
from cft.tracking.run_directory import RunDirectory
from cft.training.checkpoint_folders import checkpoints
from tasks.machine import job_host
from tasks.machine.job import Handle, Job, JobState, session_name
from tasks.machine.mirroring import Mirror
from tasks.machine.remote import Result
from tasks.machine.results import ANSWER_SECONDS, Results
from tasks.machine.ssh.connection import Connection
from tasks.machine.step import answer_of, source_of, start_program
from tasks.machine.transfer.client import push

logger = logging.getLogger("cft.machine")


class SshMachine:
    """Starts, mirrors and stops jobs on one host.

    Args:
        connection: to the host.
        base: absolute path of our folder there.
        grace: seconds between TERM and KILL when a job is stopped.
        checkpoint_seconds: how old the newest checkpoint here may become while a newer one is
            there; a lost host costs no more than that and one pull.
        adapter_seconds: for which an adapter that cannot be fetched is tried again.
        say: told what a person should know.
    """

    name = "ssh"

    def __init__(
        self,
        connection: Connection,
        base: str,
        *,
        grace: float = 10.0,
        checkpoint_seconds: float = 600.0,
        adapter_seconds: float = 1800.0,
        say: Callable[[str], None] = logger.info,
    ) -> None:
        self.connection, self.base, self.grace = connection, base.rstrip("/"), grace
        self.say = say
        self._seen: dict[str, dict[str, Any]] = {}  # the last answer, by run
        self._results = Results(
            connection, self.folder_of, checkpoint_seconds, adapter_seconds, say
        )
        self._mirror = Mirror(connection, self.folder_of, self.name, say)
        self._settled: set[str] = set()  # runs of which all that they left is here

    def folder_of(self, run: Path) -> str:
        """The run directory on the host: the same flow run and stage."""
        return f"{self.base}/runs/{run.parent.name}/{run.name}"

    def session_of(self, run: Path) -> str:
        """Name of the tmux session of a run; two state folders never share one."""
        return session_name(self.folder_of(run), run)

    def start(self, job: Job) -> Handle:
        """Start the job, or attach when its run directory there has a living or a finished one.

        What ended well while nobody watched is not done again: it is only brought home. A host
        that does not know the run yet gets the events and the newest checkpoint that are here: a
        job whose host was lost goes on from them on another.

        Raises:
            CftError: the host cannot start it.
        """
        folder, run = self.folder_of(job.run), RunDirectory(job.run)
        known = self._known(job.run)
        names = [run.events.name] if run.events.exists() else []
        names += [f"checkpoints/{one.name}" for one in checkpoints(run)[-1:]]
        if known and (done := self.finished(job.run)) is not None:
            return done
        if not known and names:
            push(self.connection, run.path, folder, names)
        command = [*_with(job.environment), *job.command]
        options = ["--grace", str(self.grace)]
        if job.slot is not None:
            options += ["--slot", f"{self.base}/slots/{job.slot.name}"]
        files = {"job_host.py": source_of(job_host)} | job.files
        program = start_program(folder, files, command, options, self.session_of(job.run))
        result = self._until_heard("exec python3 -", program)
        begun = answer_of(result) or {"problem": result.last_words}
        if "problem" in begun:
            raise CftError(f"{self.connection.settings.address}: {begun['problem']}")
        if begun.get("tmux") is False:
            self.say("the host has no tmux; the job runs as well, but nobody can attach to it")
        record = self._first_answer(job.run)["supervisor"]
        return self._handle(job.run, record, attached=bool(begun.get("attached")))

    def finished(self, run: Path) -> Handle | None:
        """The handle of a run's job that ended well and left an adapter; None: there is none.

        Raises:
            CftError: the host does not answer.
        """
        found = self._first_answer(run) if self._known(run) else None
        if found is None or not found["adapter"] or _state(found).state != "finished":
            return None
        return self._handle(run, found["supervisor"], attached=True)

    def living(self, run: Path) -> Handle | None:
        """The handle of a run's job that runs; None: none does.

        Raises:
            CftError: the host does not answer.
        """
        found = self._first_answer(run) if self._known(run) else None
        if found is None or not found["supervisor"] or not _state(found).running:
            return None
        return self._handle(run, found["supervisor"], attached=True)

    def bring_checkpoint(self, run: Path) -> None:
        """Copy the newest checkpoint of a run whose job has ended, if the host has one."""
        if self._known(run):
            self._results.newest(run, self._first_answer(run)["checkpoints"])

    def forget_checkpoints(self, run: Path) -> None:
        """Remove the checkpoints of a run from the host."""
        there = shlex.quote(f"{self.folder_of(run)}/checkpoints")
        self._until_heard(f"rm -rf {there}", None)

    def _known(self, run: Path) -> bool:
        deadline = time.monotonic() + 10 * ANSWER_SECONDS
        while (known := self._mirror.has(run)) is None:
            if time.monotonic() > deadline:
                raise CftError(f"{self.connection.settings.address}: no answer; run again")
            time.sleep(1.0)
        return known

    def _handle(self, run: Path, record: dict[str, Any], *, attached: bool) -> Handle:
        return Handle(
            machine=self.name,
            run=str(run),
            pid=int(record["pid"]),
            start=str(record["start"]),
            token=str(record["token"]),
            attached=attached,
        )

    def poll(self, handle: Handle) -> JobState:
        """Mirror what is new and say what the job is doing.

        Of a host that is not heard of nothing is known, least of all that its job failed: it is
        waited for. A job that finished counts as that once its adapter is here.

        Raises:
            CftError: the run directory is gone there, the host answered with nothing but errors, or
                the adapter could not be fetched, each for minutes.
        """
        run = Path(handle.run)
        answer = self._sync(run)
        if answer is None:
            self._results.unheard(run)
            settled = str(run) in self._settled
            return _state(self._seen[str(run)]) if settled else JobState("unheard")
        state = _state(answer)
        if state.running:
            self._results.follow(run, answer)
        elif self._results.settle(run, answer):
            self._settled.add(str(run))
        else:
            return JobState("fetching")
        return state

    def stop(self, handle: Handle) -> JobState:
        """TERM to all processes of the job, then KILL; what it saved is brought home.

        Raises:
            CftError: the host does not answer. The job may go on there.
        """
        run = Path(handle.run)
        known = self._seen.get(str(run))
        if known is not None and not _state(known).running:
            return _state(known)
        there = shlex.quote(f"{self.folder_of(run)}/job_host.py")
        result = self._until_heard(f"exec python3 {there} stop {self.grace}", None)
        if not result.ok:
            raise CftError(
                f"{self.connection.settings.address}: the job could not be stopped "
                f"({result.last_words}); end it there"
            )
        return self.poll(handle)

    def _first_answer(self, run: Path) -> dict[str, Any]:
        """What the host says of a job that was just started: what was known before is of another.

        Raises:
            CftError: the host is not heard of; the job goes on, and another start attaches.
        """
        self._seen.pop(str(run), None)
        self._settled.discard(str(run))
        deadline = time.monotonic() + 10 * ANSWER_SECONDS
        while (answer := self._sync(run)) is None:
            if time.monotonic() > deadline:
                raise CftError(
                    f"{self.connection.settings.address}: no answer; the job that was started "
                    "there goes on, run again to attach to it"
                )
            time.sleep(1.0)
        return answer

    def _until_heard(self, command: str, stdin: bytes | None) -> Result:
        """Ask until there is an answer; what is asked here may be done twice."""
        deadline = time.monotonic() + 10 * ANSWER_SECONDS
        while True:
            result = self.connection.run(command, timeout=ANSWER_SECONDS, stdin=stdin)
            if result.exit_code is not None:
                return result
            if time.monotonic() > deadline:
                raise CftError(
                    f"{self.connection.settings.address}: no answer ({result.last_words}); a job "
                    "that runs there goes on"
                )

    def _sync(self, run: Path) -> dict[str, Any] | None:
        """Copy what is new; the host's answer, or None when there is none."""
        answer = self._mirror.sync(run)
        if answer is not None:
            self._seen[str(run)] = answer
        return answer


def _state(answer: dict[str, Any]) -> JobState:
    status = answer["status"]
    if answer["state"] in ("waiting", "running"):
        return JobState(answer["state"], waits_for=status.get("waits_for"))
    return JobState(answer["state"], status.get("exit_code"), status.get("signal"))


def _with(environment: dict[str, str | None]) -> list[str]:
    """The words before a command that set its environment: what runs in tmux gets no other."""
    words = [f"{name}={value}" for name, value in environment.items() if value is not None]
    return ["env", *words] if words else []
