"""All of it, in order: what deployments refer to comes before them."""

from collections.abc import Iterator
from uuid import UUID

from prefect.client.orchestration import get_client

from cft.tracking.lineage import code_version
from deployments.deploy.automations import ensure_automation, unseen_death
from deployments.deploy.blocks import ensure_blocks
from deployments.deploy.change import Change
from deployments.deploy.deployments import check_form, ensure_deployment
from deployments.deploy.missed import skip_missed
from deployments.deploy.ntfy import ensure_ntfy
from deployments.deploy.plan import planned
from deployments.deploy.pools import POOLS, REGISTRY_LIMIT, ensure_limit, ensure_pool
from deployments.deploy.schedules import SCHEDULES, schedules_deployed, schedules_of
from deployments.deploy.variables import DEPLOYED, ensure_variable
from deployments.deploy.wanted import Wanted


def deploy(wanted: Wanted) -> Iterator[Change]:
    """Bring the server of ``PREFECT_API_URL`` to what this code needs.

    Yields:
        What became of each thing, as it happens. A second time all of it is unchanged.

    Raises:
        CftError: something on the server cannot be what is needed; the message says what to do.
    """
    plan = planned(only=wanted.only)
    with get_client(sync_client=True) as client:
        yield from (ensure_pool(client, pool) for pool in POOLS)
        yield ensure_limit(client, REGISTRY_LIMIT, 1)
        yield from ensure_blocks(client, wanted)
        pushes = ensure_ntfy(client)
        yield from pushes
        webhook = UUID(pushes[-1].id) if pushes else None
        yield ensure_automation(client, unseen_death(wanted.heartbeat_seconds, webhook))
        last = schedules_deployed(client)
        for one in plan:
            schedules = last.get(one.full_name, {})
            yield ensure_deployment(client, one, wanted.heartbeat_seconds, schedules)
        yield ensure_variable(client, SCHEDULES, last | schedules_of(plan))
        for one in plan:
            check_form(client, one)
        yield ensure_variable(client, DEPLOYED, code_version())
        if wanted.skip_missed:
            yield from skip_missed(client)
