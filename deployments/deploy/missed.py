"""Runs that schedules have left while nobody was there to do them.

Prefect makes the runs of a schedule several ahead. When the server comes back after some days, all
that came due meanwhile is late, and workers would start all of it side by side.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled

from deployments.deploy.change import SKIPPED, Change

_NAMES = ("Scheduled", "Late")
_PAGE = 200
_WHY = "Missed: a later run of the same schedule takes its place."


def skip_missed(client: SyncPrefectClient) -> Iterator[Change]:
    """Cancel what each schedule has left, but its newest run, which makes up for all of it."""
    kept: set[tuple[UUID | None, UUID | None]] = set()
    for run in _due(client):
        schedule = (run.deployment_id, run.created_by.id if run.created_by else None)
        if schedule in kept:
            client.set_flow_run_state(run.id, Cancelled(message=_WHY), force=True)
            yield Change("missed run", run.name, SKIPPED, str(run.id))
        kept.add(schedule)


def _due(client: SyncPrefectClient) -> list[FlowRun]:
    """Runs of schedules whose time has come and that nobody has begun; the newest first."""
    chosen = FlowRunFilter(
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=list(_NAMES))),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC)),
    )
    found: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(
            flow_run_filter=chosen,
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            # One that was begun before is a retry, whose work is not done by another run.
            return [one for one in found if one.auto_scheduled and not one.run_count]
