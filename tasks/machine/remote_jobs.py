"""The jobs of other hosts that are mirrored here: which may live, and how to end them.

A job on a host behind SSH is known by the record in its mirror and by the machine's settings in the
lease of its flow run, so a process that knows nothing but the flow run can end it.
"""

import json
import logging
import shlex
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cft.errors import CftError, one_line
from cft.home import Home
from tasks.machine import supervisor
from tasks.machine.hire import lease_settings, rented_host
from tasks.machine.host import Host, own_hosts
from tasks.machine.job import LIVING, RECORD, Handle, JobState, session_name
from tasks.machine.jobs import GRACE, require_run_id
from tasks.machine.provider.ledger import Entry, ledger_of
from tasks.machine.ssh.connection import Connection
from tasks.machine.watcher import watcher_of

logger = logging.getLogger("cft.machine")

SECONDS = 90.0


@dataclass(frozen=True)
class RemoteJob:
    """A job on another host, as its mirror here knows it.

    Attributes:
        flow_run_id: the flow run that started it.
        stage: of the run.
        run: the mirror of its run directory.
        address: of the host, as it was when the job was first seen.
        folder: its run directory on the host, absolute.
        state: what is known of it here.
    """

    flow_run_id: str
    stage: str
    run: Path
    address: str
    folder: str
    state: JobState

    @property
    def base(self) -> str:
        """Our folder on the host."""
        return self.folder.removesuffix(f"/runs/{self.flow_run_id}/{self.stage}")


def remote_jobs(home: Home, flow_run_id: str) -> list[RemoteJob]:
    """The jobs that a flow run has started on other hosts, living or not.

    Raises:
        CftError: the id is not the name of a run.
    """
    require_run_id(flow_run_id)
    found = []
    for path in sorted(home.runs.glob(f"{flow_run_id}/*/{RECORD}")):
        record, run = supervisor.read_json(path), path.parent
        if {"host", "folder"} <= set(record):
            found.append(
                RemoteJob(
                    flow_run_id,
                    run.name,
                    run,
                    str(record["host"]),
                    str(record["folder"]),
                    _state_of(supervisor.read_json(run / "status.json")),
                )
            )
    return found


def living_remote_jobs(home: Home, flow_run_id: str) -> list[RemoteJob]:
    """The jobs of a flow run on other hosts that live as far as is known here; nobody is asked.

    Raises:
        CftError: the id is not the name of a run.
    """
    found = [job for job in remote_jobs(home, flow_run_id) if job.state.running]
    return [] if found and given_back(home, flow_run_id) else found


def given_back(home: Home, flow_run_id: str) -> bool:
    """Whether a flow run's machine was rented and is given back, and all that ran there with it."""
    try:
        machine = lease_settings(home, flow_run_id)
        return (
            machine is not None
            and machine.kind == "lambda"
            and _entry_of(home, flow_run_id) is None
        )
    except CftError as error:  # then its end is not known
        logger.warning("run %s: %s", flow_run_id, one_line(error))
        return False


def host_of_run(home: Home, flow_run_id: str, address: str | None = None) -> Host | None:
    """The host on which a flow run's jobs live; None when its rented machine is given back.

    Args:
        home: the state folder.
        flow_run_id: of the run.
        address: of a job's host, where several train together; by default the first.

    Raises:
        CftError: nothing here says how it is reached.
    """
    machine = lease_settings(home, flow_run_id)
    if machine is None:
        raise CftError(
            f"run {flow_run_id}: its machine's settings are gone from {home.path}/machines/leases; "
            "end its job by hand on its host"
        )
    if machine.kind == "ssh":
        hosts = own_hosts(home, machine)
        return next((one for one in hosts if one.ssh.address == address), hosts[0])
    entry = _entry_of(home, flow_run_id)
    return rented_host(home, machine, entry) if entry is not None else None


def _entry_of(home: Home, flow_run_id: str) -> Entry | None:
    """The rented machine of a flow run; one that is being given back takes its jobs with it."""
    entries = [
        one
        for one in ledger_of(home).of_job(flow_run_id)
        if one.state in ("launched", "ready") and one.ip
    ]
    return entries[-1] if entries else None


def session_of(job: RemoteJob) -> str:
    """Name of the job's tmux session on its host, where that has tmux."""
    return session_name(job.folder, job.run)


def stop_remote_jobs(
    home: Home,
    flow_run_id: str,
    grace: float = GRACE,
    *,
    stage: str | None = None,
    seconds: float = SECONDS,
) -> list[RemoteJob]:
    """End every process of a flow run's jobs on other hosts and bring home what they have saved.

    TERM to all, KILL after the grace. Jobs that are known to have ended are not asked for, and
    those of a rented machine that is given back have ended with it. What they saved is fetched in
    the time that is left, unless somebody watches the run, who does so himself.

    Args:
        home: the state folder.
        flow_run_id: of the run.
        grace: seconds between TERM and KILL.
        stage: only the job of this one.
        seconds: that all of it may take. Stopping alone takes up to twice the grace and ten
            seconds, and the way there and back.

    Returns:
        The jobs that may have lived, each with its state now.

    Raises:
        CftError: the host is not known, does not answer in time, or a process does not end. The
            job may go on there.
    """
    living = [
        job
        for job in remote_jobs(home, flow_run_id)
        if job.state.running and stage in (None, job.stage)
    ]
    if not living:
        return []
    hosts = {
        job.address: host
        for job in living
        if (host := host_of_run(home, flow_run_id, job.address)) is not None
    }
    if not hosts:
        return []
    deadline = time.monotonic() + seconds
    connections = {address: host.connect() for address, host in hosts.items()}
    pool = ThreadPoolExecutor(len(living), thread_name_prefix="cft-stop")
    try:
        # Connecting takes several answers, each with a bound of its own: one bound holds for all.
        stops = [
            pool.submit(_stop, connections[job.address], job, grace, deadline) for job in living
        ]
        if _late(stops, deadline):
            raise CftError(
                f"{', '.join(hosts)}: did not say within {seconds:.0f} s that the job is stopped; "
                "it may go on there, try again"
            )
        stopped = [one.result() for one in stops]
        fetches = [pool.submit(_bring_home, connections[job.address], job) for job in stopped]
        if _late(fetches, deadline):
            logger.warning("run %s: not all that it saved is here in time", flow_run_id)
        return stopped
    finally:
        for one in connections.values():
            one.close()  # which ends what is late
        pool.shutdown(wait=False, cancel_futures=True)


def _late(work: Sequence[Future[Any]], deadline: float) -> bool:
    return bool(wait(work, max(0.0, deadline - time.monotonic())).not_done)


def _stop(connection: Connection, job: RemoteJob, grace: float, deadline: float) -> RemoteJob:
    """Stop one; asked again when the answer is lost, which does no harm."""
    folder, address = shlex.quote(job.folder), connection.settings.address
    # The status comes with the answer: the job may have ended by itself meanwhile.
    command = f"python3 {folder}/job_host.py stop {grace:g} && cat {folder}/status.json || exit $?"
    while True:
        left = deadline - time.monotonic()
        result = connection.run(command, timeout=max(0.1, left))
        if result.exit_code is not None or time.monotonic() >= deadline:
            break
    if not result.ok:
        raise CftError(
            f"{address}: {job.stage} could not be stopped ({result.last_words}); it may go on "
            "there, try again or end it there"
        )
    answer, _, status = result.stdout.partition("\n")
    try:
        left_over, known = json.loads(answer)["left"], json.loads(status)
    except (ValueError, KeyError, TypeError):
        raise CftError(
            f"{address}: {job.folder} is not a run directory of ours any more "
            f"({result.last_words}); look for the job there"
        ) from None
    if left_over:
        raise CftError(
            f"{address}: processes {', '.join(map(str, left_over))} of {job.stage} do not end; "
            "end them there"
        )
    state = _state_of(known)
    return replace(job, state=JobState("killed") if state.running else state)


def _bring_home(connection: Connection, job: RemoteJob) -> None:
    """Mirror the end of a job; what it saved is worth some seconds, and no error."""
    from tasks.machine.ssh_machine import SshMachine  # torch comes with it

    if watcher_of(job.run).state == "alive":
        return
    machine = SshMachine(connection, job.base, say=logger.info)
    try:
        machine.poll(Handle(machine.name, str(job.run), 0, "", ""))
    except (CftError, OSError) as error:
        logger.warning("%s: not all that it saved is here (%s)", job.stage, one_line(error))


def _state_of(status: dict[str, object]) -> JobState:
    state = str(status.get("state") or "running")
    if state in LIVING:
        return JobState(state)
    code, number = status.get("exit_code"), status.get("signal")
    return JobState(
        state,
        code if isinstance(code, int) else None,
        number if isinstance(number, int) else None,
    )
