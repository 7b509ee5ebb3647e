"""Machines that nobody wants any more, ended: what the sweep's flow does."""

import logging
from typing import Any
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from cft.errors import CftError
from cft.home import Home
from tasks.machine.hire import hire_of
from tasks.machine.provider.ledger import ledger_of
from tasks.machine.provider.settings import LambdaSettings
from tasks.machine.provider.sweep import sweep
from tasks.machine.settings import MachineSettings
from tasks.machine.wanted import Standing, wanted_by_lease
from tasks.notify.machines import release_failed
from tasks.retries import ON_NETWORK

logger = logging.getLogger("cft.machine")

KEY = "machines"
OVER = {StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CANCELLING}


@task(name="sweep-machines", cache_policy=NO_CACHE, **ON_NETWORK)
def sweep_machines(
    cloud: LambdaSettings, grace_seconds: float, give_up_seconds: float, dry_run: bool
) -> dict[str, Any]:
    """Judge every machine of the account and end those that are not wanted.

    Args:
        cloud: how the provider is asked.
        grace_seconds: for the machine of a run whose process died.
        give_up_seconds: for all the ends together.
        dry_run: only tell.

    Returns:
        ``rows``, ``problems``, ``still_there`` and the ``page``. Without an API key, and with
        nothing in the ledger that is not released, there is nothing to look for.

    Raises:
        CftError: there is no key, and the ledger knows of machines.
        ProviderError: the machines cannot be listed; another try is made where it can help.
    """
    home = Home.from_environment()
    try:
        hire = hire_of(home, MachineSettings(cloud=cloud))
    except CftError as error:
        found = ledger_of(home).entries()
        if found.unreadable or any(one.open for one in found.readable):
            raise
        page = f"Nothing was rented from here, and no account is known ({error})."
        return {"rows": [], "problems": [], "still_there": [], "page": page}
    report = sweep(
        hire.provider,
        hire.ledger,
        hire.clock,
        alive=wanted_by_lease(home, grace_seconds, standing_of),
        dry_run=dry_run,
        alarm=lambda alarm: release_failed(alarm, home),
        give_up_after=give_up_seconds,
    )
    page = report.to_markdown()
    create_markdown_artifact(page, key=KEY, description="Rented machines")
    get_run_logger().info("%d machines and open entries seen", len(report.rows))
    return report.to_json() | {
        "still_there": [str(row.id) for row in report.still_there],
        "page": page,
    }


def standing_of(job: str) -> Standing | None:
    """How a flow run stands at the server; None where it does not know it or answer."""
    try:
        run = UUID(job)
    except ValueError:
        return None
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run).state
    except ObjectNotFound:
        return None
    except Exception as error:
        logger.warning("sweep: the server does not say how run %s stands (%s)", job, error)
        return None
    if state is None:
        return None
    if state.type in OVER:
        return "over"
    return "crashed" if state.type == StateType.CRASHED else "going"
