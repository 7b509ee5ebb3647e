"""What people change on the server stays theirs, however often `cft deploy` comes by."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.states import AwaitingRetry, Running

from deployments.deploy import apply, plan
from deployments.deploy.apply import deploy
from deployments.deploy.change import SKIPPED, UNCHANGED, UPDATED, Change
from deployments.deploy.missed import skip_missed
from deployments.deploy.wanted import Wanted
from tests.integration.prefect_server import PrefectServer, prefect_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
NIGHTLY = "baselines/nightly"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: PrefectServer) -> Iterator[SyncPrefectClient]:
    with server.client() as one:
        yield one


@pytest.fixture
def deployment(client: SyncPrefectClient) -> DeploymentResponse:
    """One that was just made, with the file's schedule."""
    for one in client.read_deployments():
        client.delete_deployment(one.id)
    again()
    return client.read_deployment_by_name(NIGHTLY)


def again(**wanted: Any) -> Change:
    """What became of the deployment."""
    changes = list(deploy(Wanted(only=(NIGHTLY,), **wanted)))
    return next(one for one in changes if one.kind == "deployment")


def own(client: SyncPrefectClient, deployment: UUID, cron: str, slug: str | None = None) -> UUID:
    """A schedule that a person has made in the UI."""
    made = DeploymentScheduleCreate(schedule=CronSchedule(cron=cron), slug=slug)
    return client.create_deployment_schedules(deployment, [made])[0].id


def test_schedules_and_limits_of_people_stay(client, deployment) -> None:
    (of_file,) = deployment.schedules
    own(client, deployment.id, "0 5 * * *")
    own(client, deployment.id, "0 6 * * *", "mine")
    edited = CronSchedule(cron="0 4 * * *", timezone="Europe/Berlin")
    client.update_deployment_schedule(deployment.id, of_file.id, active=False, schedule=edited)
    options = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    limit = DeploymentUpdate(concurrency_limit=2, concurrency_options=options, paused=True)
    client.update_deployment(deployment.id, limit)
    before = client.read_deployment(deployment.id)
    assert len(before.schedules) == 3

    assert again().what == UNCHANGED
    assert client.read_deployment(deployment.id) == before

    client.update_deployment(deployment.id, DeploymentUpdate(description="something else"))
    assert again().what == UPDATED, "what the file says is brought back"
    after = client.read_deployment(deployment.id)
    assert after.description == before.description
    assert after.schedules == before.schedules
    assert after.paused
    assert after.global_concurrency_limit.limit == 2
    assert after.concurrency_options == before.concurrency_options


def test_one_that_a_person_deleted_stays_deleted(client, deployment) -> None:
    client.delete_deployment_schedule(deployment.id, deployment.schedules[0].id)
    assert again().what == UNCHANGED
    assert client.read_deployment_schedules(deployment.id) == []


def test_what_the_file_changes_is_carried_over(
    client, deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = own(client, deployment.id, "0 5 * * *")
    (of_file,) = deployment.schedules
    client.update_deployment_schedule(deployment.id, of_file.id, active=False)

    def deploy_with(*schedules: dict[str, Any]) -> dict[str | None, Any]:
        (one,) = plan.planned(only=(NIGHTLY,))
        changed = replace(one, schedules=list(schedules))
        with monkeypatch.context() as inner:
            inner.setattr(apply, "planned", lambda only: [changed])
            assert again().what == UPDATED
            assert again().what == UNCHANGED
        return {one.slug: one for one in client.read_deployment_schedules(deployment.id)}

    entry = {"slug": "nightly", "cron": "15 1 * * *", "timezone": "UTC"}
    found = deploy_with(entry, {"slug": "noon", "cron": "0 12 * * *"})
    assert found.keys() == {None, "nightly", "noon"}
    assert (found["nightly"].id, found["nightly"].schedule.cron) == (of_file.id, "15 1 * * *")
    assert not found["nightly"].active, "that it was switched off is a person's word"
    assert found["noon"].active
    found = deploy_with(entry)
    assert found.keys() == {None, "nightly"}
    assert found[None].id == mine


def test_of_what_was_missed_the_newest_of_each_schedule_is_done(client, deployment) -> None:
    mine = own(client, deployment.id, "0 5 * * *")
    (of_file,) = deployment.schedules
    now = datetime.now(UTC)
    # As a stack that was down for three days finds them.
    days = {"start_time": str(now - timedelta(days=3)), "end_time": str(now), "min_runs": 3}
    client.request("POST", f"/deployments/{deployment.id}/schedule", json=days)
    by_hand = client.create_flow_run_from_deployment(deployment.id)
    runs = {one.id: one for one in client.read_flow_runs() if one.expected_start_time < now}
    late = {schedule: sorted(
        (one for one in runs.values() if one.auto_scheduled and one.created_by.id == schedule),
        key=lambda one: one.expected_start_time,
    ) for schedule in (of_file.id, mine)}  # fmt: skip
    assert [len(one) for one in late.values()] == [3, 3]
    # One that has begun and waits for its next try is no missed one.
    begun = late[mine].pop(0)
    for state in (Running(), AwaitingRetry(scheduled_time=now)):
        client.set_flow_run_state(begun.id, state, force=True)

    changes = list(deploy(Wanted(only=(NIGHTLY,), skip_missed=True)))
    skipped = {one.id for one in changes if one.what == SKIPPED}
    assert skipped == {str(one.id) for runs in late.values() for one in runs[:-1]}
    for run in runs:
        now_is = client.read_flow_run(run).state
        assert now_is.is_cancelled() == (str(run) in skipped), now_is
    assert client.read_flow_run(by_hand.id).state.is_scheduled()
    assert list(skip_missed(client)) == []
