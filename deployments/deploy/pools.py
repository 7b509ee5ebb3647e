"""Work pools and limits: how many runs may be at work at the same time."""

from dataclasses import dataclass

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from cft.errors import CftError
from deployments.deploy.change import CREATED, UNCHANGED, Change

PROCESS = "process"
REGISTRY_LIMIT = "cft-registry"  # the aliases of the registry have one writer at a time


@dataclass(frozen=True)
class Pool:
    """A work pool of processes on the worker's machine."""

    name: str
    description: str
    limit: int | None


POOLS = (
    Pool("cpu", "Runs that need no GPU: any number at the same time.", None),
    # Below it the trainings of a machine take slots; this keeps a second one from being started.
    Pool("gpu", "Trainings on this machine's GPUs: one at a time.", 1),
)


def ensure_pool(client: SyncPrefectClient, pool: Pool) -> Change:
    """Make a work pool. One that is there keeps the limits that a person gave it.

    Raises:
        CftError: a pool of this name is of another type.
    """
    try:
        found = client.read_work_pool(pool.name)
    except ObjectNotFound:
        made = client.create_work_pool(
            WorkPoolCreate(
                name=pool.name,
                type=PROCESS,
                description=pool.description,
                concurrency_limit=pool.limit,
                base_job_template=ProcessWorker.get_default_base_job_template(),
            )
        )
        return Change("work pool", pool.name, CREATED, str(made.id))
    if found.type != PROCESS:
        raise CftError(
            f"work pool {pool.name}: is of type {found.type}, not {PROCESS}; rename or delete it"
        )
    return Change("work pool", pool.name, UNCHANGED, str(found.id))


def ensure_limit(client: SyncPrefectClient, name: str, limit: int) -> Change:
    """Make a global concurrency limit; one that is there is left as it is."""
    try:
        found = client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        made = client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name=name, limit=limit)
        )
        return Change("limit", name, CREATED, str(made))
    return Change("limit", name, UNCHANGED, str(found.id))
