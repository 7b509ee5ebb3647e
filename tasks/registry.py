"""The registry's single writer, and the tasks that move aliases through it.

MLflow has no compare-and-swap, so whoever moves an alias first takes a slot of a global
concurrency limit, which holds for all flows of one Prefect server, and then a lock file in the
state folder, which holds for all processes of one machine whatever server they talk to.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists

from cft.errors import CftError
from cft.files import locked_within
from cft.home import Home
from cft.tracking import promotion
from cft.tracking.promotion import Promotion
from cft.tracking.registry import CANDIDATE
from cft.tracking.scores import registered_version

LIMIT = "cft-registry"
WAIT_SECONDS = 600.0  # a slot whose holder was killed comes back when its lease ends, after 300 s


def registry_client(home: Home) -> MlflowClient:
    """A client of the registry of a state folder."""
    return MlflowClient(tracking_uri=home.tracking_uri, registry_uri=home.tracking_uri)


@contextlib.contextmanager
def single_writer(home: Home, wait: float = WAIT_SECONDS) -> Iterator[MlflowClient]:
    """Hold the registry for as long as the block lasts.

    Raises:
        CftError: another writer holds it for longer than ``wait`` seconds.
    """
    ensure_limit()
    try:
        with (
            concurrency(
                LIMIT, timeout_seconds=wait, strict=True, raise_on_lease_renewal_failure=False
            ),
            locked(home, wait),
        ):
            yield registry_client(home)
    except TimeoutError:
        raise CftError(
            f"concurrency limit {LIMIT}: taken for more than {wait:.0f} s; see in Prefect which "
            "flow run moves an alias, and try again"
        ) from None


def ensure_limit() -> None:
    """Make the concurrency limit where it is missing; two makers at once are fine."""
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectAlreadyExists):
        client.upsert_global_concurrency_limit_by_name(LIMIT, 1)


@contextlib.contextmanager
def locked(home: Home, wait: float) -> Iterator[None]:
    """Hold ``registry.lock``; the lock of a process that died is free.

    Raises:
        CftError: another process holds it for longer than ``wait`` seconds.
    """
    path = home.path / "registry.lock"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked_within(path, wait))
        except TimeoutError:
            raise CftError(
                f"{path}: held by another process for more than {wait:.0f} s; wait until it has "
                "moved its alias, and try again"
            ) from None
        yield


def version_named(home: Home, name: str, version: str) -> ModelVersion:
    """A version by its number or an alias.

    Raises:
        CftError: the registry has no such model, version or alias.
    """
    reference = f"models:/{name}/{version}" if version.isdigit() else f"models:/{name}@{version}"
    found = registered_version(registry_client(home), reference)
    if found is None:
        raise CftError(
            f"{version}: neither a number nor an alias; name a version, such as {CANDIDATE}"
        )
    return found


def version_made_from(
    home: Home, name: str, digests: dict[str, str], job: str
) -> ModelVersion | None:
    """The newest version that other jobs made from the same recipe, data and backbone.

    Args:
        home: state folder.
        name: registered model.
        digests: tags that a version of the same content has.
        job: the job that asks; what it made itself does not count.
    """
    wanted = " AND ".join(f"tags.{tag} = '{value}'" for tag, value in digests.items())
    found = registry_client(home).search_model_versions(f"name = '{name}' AND {wanted}")
    others = [one for one in found if one.tags.get("flow_run_id") != job]
    return max(others, key=lambda one: int(one.version), default=None)


def _transient(task: Any, run: Any, state: Any) -> bool:
    """Whether trying again can help: an error of ours says what a person has to mend."""
    return not isinstance(state.result(raise_on_failure=False), CftError)


# Safe to repeat: a job's move is made once, and one that was cut off is finished.
RETRIES: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": 2,
    "retry_delay_seconds": 5,
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _transient,
}


@task(name="promote-version", **RETRIES)
def promote_version(
    name: str,
    version: str,
    job: str,
    verdict: Literal["passed", "first", "skipped"],
    reason: str,
    report: str,
    instead_of: str | None,
) -> Promotion:
    """Make a version champion; arguments are those of :func:`cft.tracking.promotion.promote`."""
    with single_writer(Home.from_environment()) as client:
        made = promotion.promote(
            client,
            name,
            version,
            by=job,
            verdict=verdict,
            reason=reason,
            report=report,
            instead_of=instead_of,
        )
    get_run_logger().info("champion of %s: version %s, was %s", name, version, made.previous)
    return made


@task(name="rollback-version", **RETRIES)
def rollback_version(name: str, job: str, reason: str) -> Promotion:
    """Swap champion and previous champion."""
    with single_writer(Home.from_environment()) as client:
        made = promotion.rollback(client, name, by=job, reason=reason)
    get_run_logger().info("champion of %s: version %s, was %s", name, made.version, made.previous)
    return made


@task(name="record-verdict", **RETRIES)
def record_verdict(name: str, version: str, tags: dict[str, str]) -> None:
    """Write what the gate, or a person, said of a version."""
    with single_writer(Home.from_environment()) as client:
        promotion.record_verdict(client, name, version, tags)


@task(name="find-promotion", **RETRIES)
def find_promotion(name: str, job: str) -> Promotion | None:
    """The promotion that this job made before it was cut off; what was begun is finished first."""
    home = Home.from_environment()
    client = registry_client(home)
    if promotion.unfinished(client, name):
        with single_writer(home) as client:
            promotion.finish(client, name)
    return promotion.made_by(client, name, "promote", job)
