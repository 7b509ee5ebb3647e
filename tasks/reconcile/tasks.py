"""The steps of a pass as Prefect tasks."""

import logging
from datetime import timedelta

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from cft.home import Home
from tasks.reconcile.facts import Action, Found, Outcome
from tasks.reconcile.mend import mend
from tasks.reconcile.observe import observe
from tasks.reconcile.record import mend_tracking, orphans, tell
from tasks.reconcile.report import Report
from tasks.retries import ON_NETWORK

REPORT_KEY = "reconcile"


@task(name="observe", cache_policy=NO_CACHE, **ON_NETWORK)
def observe_all(itself: str, lookback_days: float) -> Found:
    """Look at the flow runs, the jobs of this host and the slots; changes nothing."""
    with get_client(sync_client=True) as client:
        return observe(client, Home.from_environment(), itself, timedelta(days=lookback_days))


@task(name="mend", cache_policy=NO_CACHE)
def mend_all(actions: list[Action]) -> list[Outcome]:
    """Do every action; what fails is met again in the next pass."""
    logging.getLogger("cft.reconcile").setLevel(logging.INFO)
    with get_client(sync_client=True) as client:
        return mend(client, Home.from_environment(), actions)


@task(name="mend-tracking", cache_policy=NO_CACHE)
def mend_record(
    found: Found, outcomes: list[Outcome], grace: float, dry_run: bool
) -> tuple[list[str], list[str], int]:
    """Bring MLflow and the phone up to date; what failed is met again in the next pass."""
    home = Home.from_environment()
    if dry_run:
        return orphans(home, found, outcomes, grace), [], 0
    lines, failures = mend_tracking(home, found, outcomes, grace)
    return lines, failures, tell(home, outcomes)


@task(name="publish-reconciled", cache_policy=NO_CACHE)
def publish(report: Report) -> str:
    """The report as an artifact, where it says anything; returns the page."""
    page = report.markdown()
    if report.quiet:
        get_run_logger().info(page.splitlines()[-1])
        return page
    create_markdown_artifact(page, key=REPORT_KEY, description="Found and mended")
    for line in report.lines():
        get_run_logger().info(line)
    return page
