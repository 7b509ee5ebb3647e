"""Deployments: made, or brought to what the file says, and nothing written where they are so."""

import contextlib
from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.runner.storage import LocalStorage
from prefect.utilities.callables import parameter_schema

from cft.errors import CftError
from deployments.deploy.blocks import environment_from_blocks
from deployments.deploy.change import CREATED, UNCHANGED, UPDATED, Change, What
from deployments.deploy.plan import ROOT, Planned
from deployments.deploy.schedules import ensure_schedules
from flows.environment import worker_environment


def ensure_deployment(
    client: SyncPrefectClient, one: Planned, heartbeat_seconds: int, schedules: Mapping[str, Any]
) -> Change:
    """Make a deployment, or change what differs of what the file says.

    What it does not say is for people: a limit, a queue, a pause, and schedules of their own.

    Args:
        client: of the server.
        one: the deployment in the file.
        heartbeat_seconds: between two signs of life of a run.
        schedules: entries of the file that were deployed last, by slug.

    Raises:
        CftError: the server has not taken the form of its parameters.
    """
    variables = job_variables(one, heartbeat_seconds)
    found = _read(client, one.full_name)
    what: What = UNCHANGED
    if found is None:
        _create(one, variables)
        found, what, schedules = client.read_deployment_by_name(one.full_name), CREATED, {}
    elif not _same(found, one, variables):
        client.update_deployment(found.id, _update(found, one, variables))
        what = UPDATED
    if ensure_schedules(client, found, one, schedules) and what == UNCHANGED:
        what = UPDATED
    if what != UNCHANGED:
        check_form(client, one)
    return Change("deployment", one.full_name, what, str(found.id))


def _create(one: Planned, variables: dict[str, Any]) -> None:
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
    deployment.apply()


def _update(found: DeploymentResponse, one: Planned, variables: dict[str, Any]) -> DeploymentUpdate:
    # A field that is not given stays as it is; Prefect's own `apply` would give all of them, and
    # with that take away the limits and schedules that people made.
    update = DeploymentUpdate(
        version=one.flow.version,
        description=one.description,
        tags=one.tags,
        parameters=one.parameters,
        job_variables=variables,
        entrypoint=one.entrypoint,
        pull_steps=[LocalStorage(str(ROOT)).to_pull_step()],
        enforce_parameter_schema=True,
        parameter_openapi_schema=_form(one),
    )
    if found.work_pool_name != one.pool:
        update.work_pool_name = one.pool
    return update


def job_variables(one: Planned, heartbeat_seconds: int) -> dict[str, Any]:
    """What the worker starts the run with: of the file, of this code, and of the blocks."""
    environment = worker_environment(heartbeat_seconds) | environment_from_blocks()
    return one.job_variables | {"env": environment}


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


def _read(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    with contextlib.suppress(ObjectNotFound):
        return client.read_deployment_by_name(name)
    return None


def _same(found: DeploymentResponse, one: Planned, variables: dict[str, Any]) -> bool:
    """Whether the server has all of it, schedules apart."""
    steps = LocalStorage(str(ROOT)).to_pull_step()
    return (
        found.entrypoint == one.entrypoint
        and found.description == one.description
        and sorted(found.tags) == sorted(one.tags)
        and found.work_pool_name == one.pool
        and found.parameters == one.parameters
        and found.job_variables == variables
        and found.pull_steps == [steps]
        and found.parameter_openapi_schema == _form(one)
    )
