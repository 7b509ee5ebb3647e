"""The jobs of this host: which live, whose they are, and how to end them.

A job outlives whoever started it, by design; so somebody must be able to find it again. It is
named by its flow run: ``runs/<flow run id>/<stage>``.
"""

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cft.errors import CftError
from cft.home import Home
from tasks.machine import process_table, supervisor
from tasks.machine.job import Handle, JobState
from tasks.machine.local import LocalMachine

logger = logging.getLogger("cft.machine")

# Nine seconds in all at worst: a cancelled flow must have ended every rank within fifteen.
GRACE = 4.0


@dataclass(frozen=True)
class FoundJob:
    """A job of this host."""

    flow_run_id: str
    stage: str
    run: Path
    handle: Handle
    state: JobState


def living_jobs(home: Home) -> list[FoundJob]:
    """Jobs under ``home`` of which any process is left, whether somebody watches them or not."""
    return list(_living(home, "*"))


def jobs_of(home: Home, flow_run_id: str) -> list[FoundJob]:
    """The living jobs of one flow run.

    Raises:
        CftError: the id is not the name of a run.
    """
    require_run_id(flow_run_id)
    return list(_living(home, flow_run_id))


def stop_jobs(
    home: Home, flow_run_id: str, grace: float = GRACE, *, stage: str | None = None
) -> list[FoundJob]:
    """End every process of a flow run's jobs and keep what they have saved.

    TERM to all, KILL after ``grace`` seconds. It never takes longer than twice the grace and ten
    seconds. With a ``stage``, only that one's job.

    Returns:
        The jobs that lived, each with its state now.

    Raises:
        CftError: the id is not the name of a run.
    """
    found = [job for job in jobs_of(home, flow_run_id) if stage in (None, job.stage)]
    if not found:
        return []
    machine = LocalMachine(grace)
    with ThreadPoolExecutor(len(found)) as pool:
        states = list(pool.map(lambda job: machine.stop(job.handle), found))
    return [
        FoundJob(job.flow_run_id, job.stage, job.run, job.handle, state)
        for job, state in zip(found, states, strict=True)
    ]


def require_run_id(flow_run_id: str) -> None:
    """Refuse what cannot be the name of a run's folder.

    Raises:
        CftError: it is not one.
    """
    if not flow_run_id or not flow_run_id.replace("-", "").replace("_", "").isalnum():
        raise CftError(f"flow run {flow_run_id!r}: not an id; give the one that Prefect shows")


def _living(home: Home, flow_run_id: str) -> Iterator[FoundJob]:
    machine, tokens = LocalMachine(), None
    for record in sorted(home.runs.glob(f"{flow_run_id}/*/supervisor.json")):
        known = supervisor.read_json(record)
        if tokens is None:
            # One look at all processes: with a look for each of a thousand old runs, finding the
            # one that lives would take minutes.
            tokens = carried(process_table.TOKEN)
        pid = known.get("pid")
        supervised = isinstance(pid, int) and process_table.start_time(pid) == known.get("start")
        if not supervised and known.get("token") not in tokens:
            continue
        try:
            handle = machine.find(record.parent)
        except CftError as error:
            logger.warning("%s", error)
            continue
        if handle is not None:
            yield FoundJob(
                record.parent.parent.name,
                record.parent.name,
                record.parent,
                handle,
                machine.poll(handle),
            )


def carried(variable: str) -> set[str]:
    """Values of an environment variable among the processes of this host."""
    found, mark = set(), f"{variable}=".encode()
    for pid in process_table.processes():
        with contextlib.suppress(OSError):  # gone, or another user's
            for entry in (process_table.PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                if entry.startswith(mark):
                    found.add(entry.removeprefix(mark).decode(errors="replace"))
    return found
