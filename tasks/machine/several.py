"""Several hosts that train one run: N supervisors of one job, of which the first failure ends all.

The first host keeps the run directory's events, checkpoints and adapter; each of the others has a
run directory of its own, mirrored here beside it, with its log and its status.
"""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from cft.errors import CftError
from cft.tracking.run_directory import RunDirectory
from cft.training.checkpoint_folders import checkpoints
from cft.training.spec import TrainSpec
from tasks.machine.job import Handle, Job, JobState
from tasks.machine.ssh_machine import SshMachine
from tasks.machine.transfer.client import push

T = TypeVar("T")


def mirror_of(run: Path, rank: int) -> Path:
    """Where the run directory of one host is mirrored."""
    return run if rank == 0 else run.with_name(f"{run.name}-host-{rank}")


class SeveralMachines:
    """The hosts of one job as one machine.

    Args:
        machines: one a host; the first keeps the result.
        share: makes one host's share of a job from the run directory, the spec and its rank.
        say: told what a person should know.
    """

    name = "ssh"

    def __init__(
        self,
        machines: Sequence[SshMachine],
        share: Callable[[Path, TrainSpec, int], Job],
        say: Callable[[str], None],
    ) -> None:
        self.machines, self._share, self._say = list(machines), share, say
        self._specs: dict[Path, TrainSpec] = {}
        self._handles: list[Handle] = []
        self._ended: JobState | None = None

    def job(self, run: Path, spec: TrainSpec) -> Job:
        """The job that trains a run directory: the first host's share of it, for :meth:`start`."""
        self._specs[run] = spec
        return self._share(run, spec, 0)

    def start(self, job: Job) -> Handle:
        """Start the job's share on every host, or attach where all of them live.

        Where some live and others do not, those are stopped first: ranks that were lost do not
        come back into a group. All begin at the same checkpoint, the newest that is known.

        Raises:
            CftError: a host cannot start it; it is left running on none.
        """
        self._ended = None
        for rank in range(len(self.machines)):
            mirror_of(job.run, rank).mkdir(parents=True, exist_ok=True)
        if (done := self.machines[0].finished(job.run)) is not None:
            self._handles = [done]
            return done
        living = self._each(lambda rank: self.machines[rank].living(mirror_of(job.run, rank)))
        if not all(living):
            self._stop(living)
            self._share_checkpoint(job.run)
        spec, others = self._specs[job.run], range(1, len(self.machines))
        shares = [job, *(self._share(job.run, spec, rank) for rank in others)]
        try:
            self._handles = self._each(lambda rank: self.machines[rank].start(shares[rank]))
        except BaseException:
            found = self._each(lambda rank: self.machines[rank].living(mirror_of(job.run, rank)))
            self._stop(found)
            raise
        return replace(self._handles[0], attached=all(one.attached for one in self._handles))

    def poll(self, handle: Handle) -> JobState:
        """What the job is doing now; once one host's share has failed, all are stopped."""
        if self._ended is not None:
            return self._ended
        machines = zip(self.machines, self._handles, strict=False)  # of a finished job only one
        states = _all([partial(machine.poll, one) for machine, one in machines])
        failed = [
            (rank, state)
            for rank, state in enumerate(states)
            if not state.running and state.state != "finished"
        ]
        if failed:
            rank, state = failed[0]
            address = self.machines[rank].connection.settings.address
            self._say(f"{address}: its share of the job {state}; the others are stopped")
            self._stop(
                [one for one, seen in zip(self._handles, states, strict=True) if seen.running]
            )
            self._ended = state
            return state
        running = next((one for one in states if one.running), None)
        if running is None:
            self._ended = states[0]
        return running or states[0]

    def stop(self, handle: Handle) -> JobState:
        """TERM to all processes on all hosts, then KILL; what was saved is brought home.

        Raises:
            CftError: a host does not answer; the job was stopped on the others.
        """
        states = self._stop(self._handles)
        return self._ended or (states[0] if states else JobState("killed"))

    def _stop(self, handles: Sequence[Handle | None]) -> list[JobState]:
        by_run = {mirror: rank for rank, mirror in enumerate(self._mirrors(handles))}
        todo = [(by_run[one.run], one) for one in handles if one is not None]
        return _all([partial(self.machines[rank].stop, one) for rank, one in todo])

    def _mirrors(self, handles: Sequence[Handle | None]) -> list[str]:
        known = next((Path(one.run) for one in handles if one is not None), None)
        if known is None:
            return []
        name, _, rank = known.name.partition("-host-")
        first = known.with_name(name) if rank else known
        return [str(mirror_of(first, number)) for number in range(len(self.machines))]

    def _share_checkpoint(self, run: Path) -> None:
        """Bring home the newest checkpoint, and to every other host: it begins where all begin."""
        self.machines[0].bring_checkpoint(run)
        newest = checkpoints(RunDirectory(run))[-1:]
        for rank, machine in enumerate(self.machines[1:], 1):
            folder = machine.folder_of(mirror_of(run, rank))
            machine.forget_checkpoints(mirror_of(run, rank))
            if newest:
                push(machine.connection, run, folder, [f"checkpoints/{newest[0].name}"])
            shutil.rmtree(mirror_of(run, rank) / "checkpoints", ignore_errors=True)

    def _each(self, work: Callable[[int], T]) -> list[T]:
        return _all([partial(work, rank) for rank in range(len(self.machines))])


def _all(work: Sequence[Callable[[], T]]) -> list[T]:
    """Do all of it side by side; the first error is raised when all is done."""
    if not work:
        return []
    with ThreadPoolExecutor(len(work)) as pool:
        waiting = [pool.submit(one) for one in work]
    return [one.result() for one in waiting]


def require_alike(values: Sequence[T], what: str) -> T:
    """The value that all hosts share.

    Raises:
        CftError: they differ.
    """
    if len(set(values)) > 1:
        raise CftError(
            f"more_hosts: the hosts differ in {what} ({', '.join(map(str, values))}); take hosts "
            "that are alike, or say launch.device and launch.num_processes"
        )
    return values[0]
