"""Deployments: made, or brought to what the file says, and nothing written where they are so."""

import contextlib
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.runner.storage import LocalStorage
from prefect.utilities.callables import parameter_schema

from cft.errors import CftError
from deployments.deploy.blocks import environment_from_blocks
from deployments.deploy.change import CREATED, UNCHANGED, UPDATED, Change
from deployments.deploy.plan import ROOT, Planned
from flows.environment import worker_environment


def ensure_deployment(client: SyncPrefectClient, one: Planned, heartbeat_seconds: int) -> Change:
    """Make a deployment, or change what differs; schedules keep what a person switched.

    Raises:
        CftError: the server has not taken the form of its parameters.
    """
    variables = job_variables(one, heartbeat_seconds)
    before = _read(client, one.full_name)
    if before and _same(before, one, variables):
        return Change("deployment", one.full_name, UNCHANGED, str(before.id))
    deployment = RunnerDeployment.from_flow(
        one.flow,
        name=one.name,
        description=one.description,
        tags=one.tags,
        parameters=one.parameters,
        work_pool_name=one.pool,
        job_variables=variables,
    )
    deployment.entrypoint = one.entrypoint
    deployment.storage = LocalStorage(str(ROOT))
    schedules = [{"schedule": schedule_of(entry), **_rest(entry)} for entry in one.schedules]
    identity = deployment.apply(schedules=schedules or None)
    check_form(client, one)
    return Change("deployment", one.full_name, UPDATED if before else CREATED, str(identity))


def job_variables(one: Planned, heartbeat_seconds: int) -> dict[str, Any]:
    """What the worker starts the run with: of the file, of this code, and of the blocks."""
    environment = worker_environment(heartbeat_seconds) | environment_from_blocks()
    return one.job_variables | {"env": environment}


def schedule_of(entry: dict[str, Any]) -> CronSchedule | IntervalSchedule:
    """The schedule of an entry in the file: ``cron``, or ``interval`` in seconds."""
    timezone = entry.get("timezone", "UTC")
    if "cron" in entry:
        return CronSchedule(cron=entry["cron"], timezone=timezone)
    return IntervalSchedule(
        interval=entry["interval"], anchor_date=entry["anchor_date"], timezone=timezone
    )


def check_form(client: SyncPrefectClient, one: Planned) -> None:
    """Compare the form on the server with that of the flow.

    Raises:
        CftError: they differ, so the UI would offer another form, or none.
    """
    found = _read(client, one.full_name)
    if found is None or found.parameter_openapi_schema != _form(one):
        raise CftError(
            f"{one.full_name}: the server has another form of its parameters than the flow; deploy "
            "from the environment of the workers, with a server of the same version of Prefect"
        )


def _form(one: Planned) -> dict[str, Any]:
    return parameter_schema(one.flow).model_dump(exclude_unset=True)


def _rest(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("slug", "parameters") if name in entry}


def _read(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    with contextlib.suppress(ObjectNotFound):
        return client.read_deployment_by_name(name)
    return None


def _same(found: DeploymentResponse, one: Planned, variables: dict[str, Any]) -> bool:
    """Whether the server has all of it; whether a schedule is on is for people to say."""
    steps = LocalStorage(str(ROOT)).to_pull_step()
    here = {entry.slug: (entry.schedule, entry.parameters) for entry in found.schedules}
    there = {
        entry["slug"]: (schedule_of(entry), entry.get("parameters", {})) for entry in one.schedules
    }
    return (
        found.entrypoint == one.entrypoint
        and found.description == one.description
        and sorted(found.tags) == sorted(one.tags)
        and found.work_pool_name == one.pool
        and found.parameters == one.parameters
        and found.job_variables == variables
        and found.pull_steps == [steps]
        and found.parameter_openapi_schema == _form(one)
        and here == there
    )
