"""Looking at Prefect, at this host, and at what it mirrors of others. Nothing is changed here."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter

from cft.home import Home
from tasks.machine import supervisor
from tasks.machine.hire import lease_folder
from tasks.machine.job import RECORD
from tasks.machine.jobs import carried, living_jobs
from tasks.machine.remote_jobs import given_back, living_remote_jobs
from tasks.machine.watcher import Watcher, watcher_of
from tasks.reconcile.decide import ACTIVE, ENDED
from tasks.reconcile.facts import Found, RunFacts, SlotFacts, Watched, Work

HEARTBEAT = "prefect.flow-run.heartbeat"
TAG = "cft"  # of every deployment of this project
OWN_LIMITS = "cft-"  # names of concurrency limits of this project begin with it
RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"  # in the environment of a flow run's process
PAGE = 200


def observe(client: SyncPrefectClient, home: Home, itself: str, lookback: timedelta) -> Found:
    """Facts of the runs that may need mending, and of the slots that they take.

    Args:
        client: of the Prefect server.
        home: the state folder of this host.
        itself: the flow run that looks; it is left out.
        lookback: how far back runs are read that have ended.
    """
    now = datetime.now(UTC)
    living = {job.flow_run_id for job in living_jobs(home)}
    processes = carried(RUN_VARIABLE)
    names: dict[UUID, str] = {}
    runs = [*_runs(client, ACTIVE), *_runs(client, ENDED, now - lookback)]
    known = {str(run.id) for run in runs}
    facts = []
    for run in runs:
        if str(run.id) == itself or not _ours(run, home):
            continue
        if run.flow_id not in names:
            names[run.flow_id] = client.read_flow(run.flow_id).name
        facts.append(_facts(client, home, run, names[run.flow_id], living, processes, now))
    strangers = [f"{run}: its job lives, but no such flow run is known" for run in living - known]
    active = [run for run in runs if str(run.id) != itself and _type(run) in ACTIVE]
    return Found(facts, _slots(client, active, home, now), sorted(strangers))


def _runs(
    client: SyncPrefectClient, states: tuple[str, ...], since: datetime | None = None
) -> Iterator[FlowRun]:
    chosen = FlowRunFilter(
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType(name) for name in states])
        ),
        end_time=FlowRunFilterEndTime(after_=since) if since else None,
    )
    offset = 0
    while page := client.read_flow_runs(flow_run_filter=chosen, limit=PAGE, offset=offset):
        yield from page
        offset += len(page)


def _ours(run: FlowRun, home: Home) -> bool:
    return TAG in run.tags or (home.runs / str(run.id)).is_dir()


def _type(run: FlowRun) -> str:
    return run.state.type.value if run.state else ""


def _facts(
    client: SyncPrefectClient,
    home: Home,
    run: FlowRun,
    flow: str,
    living: set[str],
    processes: set[str],
    now: datetime,
) -> RunFacts:
    assert run.state is not None
    began = run.state.timestamp
    state_seconds = silent = (now - began).total_seconds()
    seen: Watched = "alive" if str(run.id) in processes else watched(home, run)
    if _type(run) in ACTIVE and seen == "unknown":
        heard = last_heartbeat(client, run.id)
        if heard is not None:
            silent = min(silent, (now - heard).total_seconds())
    return RunFacts(
        id=str(run.id),
        name=run.name,
        flow=flow,
        state=_type(run),
        state_id=str(run.state.id),
        state_seconds=state_seconds,
        silent_seconds=silent,
        watched=seen,
        work="living" if str(run.id) in living else work(home, str(run.id)),
        run_count=run.run_count,
        deployed=run.deployment_id is not None,
    )


def watched(home: Home, run: FlowRun) -> Watched:
    """What the newest watcher of the run's jobs, or of its machine, says of its process."""
    lease = watcher_of(lease_folder(home, str(run.id)))
    found = [lease, *(watcher_of(folder) for folder in _job_folders(home, str(run.id)))]
    if any(one.state == "alive" for one in found):
        return "alive"
    newest = max((one for one in found if one.state == "dead"), key=_since, default=None)
    if lease.state == "dead" and not lease.left:
        newest = lease  # it is held around all stages, also between two of them
    assert run.state is not None
    # One from before a run was RUNNING says nothing: it has begun again and is not yet that far.
    # One that took its leave has gone on with the flow: its lock tells nothing any more.
    began = 0.0 if _type(run) == "CANCELLING" else run.state.timestamp.timestamp()
    if newest is None or newest.since < began or newest.left:
        return "unknown"
    return "dead"


def _since(watcher: Watcher) -> float:
    return watcher.since


def _job_folders(home: Home, run: str) -> list[Path]:
    """The folders of a run's jobs: those of this host, and the mirrors of those of others."""
    records = ("supervisor.json", RECORD)
    return [path.parent for name in records for path in (home.runs / run).glob(f"*/{name}")]


def work(home: Home, run: str) -> Work:
    """How the newest job of a run stands that has no living one on this host.

    What was on a rented machine that is given back counts as ended, however it did: a retry would
    rent another one, and that is for a person to say.
    """
    if living_remote_jobs(home, run):
        return "living"
    ended = [supervisor.read_json(folder / "status.json") for folder in _job_folders(home, run)]
    if not ended:
        return "none"
    if given_back(home, run):
        return "ended"
    newest: dict[str, Any] = max(ended, key=lambda status: float(status.get("started") or 0))
    if newest.get("state") == "finished":
        return "finished"
    # The supervisor writes how a job ended; where it did not, it went down with the job.
    if "stopped" not in newest:
        return "lost"
    return "ended"


def last_heartbeat(client: SyncPrefectClient, run: UUID) -> datetime | None:
    """When a flow run was last heard of; None where it never was."""
    page = client.read_events(
        EventFilter(
            event=EventNameFilter(name=[HEARTBEAT]),
            resource=EventResourceFilter(id=[f"prefect.flow-run.{run}"]),
        ),
        limit=1,
    )
    return page.events[0].occurred if page.events else None


def _slots(
    client: SyncPrefectClient, active: list[FlowRun], home: Home, now: datetime
) -> list[SlotFacts]:
    found, offset = [], 0
    while page := client.read_global_concurrency_limits(limit=PAGE, offset=offset):
        offset += len(page)
        for one in page:
            if not one.active_slots or one.slot_decay_per_second:
                continue
            if one.name.startswith("deployment:"):
                deployment = one.name.removeprefix("deployment:")
                holders = [run for run in active if str(run.deployment_id) == deployment]
                if not holders and not _is_ours(client, deployment):
                    continue
            elif one.name.startswith(OWN_LIMITS):
                holders = [run for run in active if _ours(run, home)]
            else:
                continue
            changed = one.updated or now
            found.append(
                SlotFacts(one.name, one.active_slots, len(holders), (now - changed).total_seconds())
            )
    return found


def _is_ours(client: SyncPrefectClient, deployment: str) -> bool:
    try:
        return TAG in client.read_deployment(UUID(deployment)).tags
    except Exception:  # gone, or no deployment of that name
        return False
