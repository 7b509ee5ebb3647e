"""The janitor: finds runs that nobody watches, and what dead ones have left, and mends it."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from cft.home import Home
from flows.console import end_on_signals, use_terminal
from flows.forms_reconcile import ReconcileSettings
from flows.hooks import hooks
from tasks.reconcile.decide import Limits, decide
from tasks.reconcile.facts import Outcome
from tasks.reconcile.report import Report
from tasks.reconcile.tasks import mend_all, mend_record, observe_all, publish
from tasks.steps import Steps


@flow(name="reconcile", flow_run_name="reconcile", **hooks(routine=True))
def reconcile(
    settings: ReconcileSettings = ReconcileSettings(),  # noqa: B008 (shown in the form)
) -> dict[str, Any]:
    """Mend what died without a word.

    Flow runs whose process is gone are marked as Crashed, and taken up again where their training
    lives or can go on; jobs of cancelled runs are stopped; MLflow runs that were left RUNNING get
    their true end; slots that nobody can hold are given back; pushes that wait are sent.

    Args:
        settings: when a run counts as dead, and what is done about it.

    Returns:
        What was found and what became of it.
    """
    started = time.perf_counter()
    steps = Steps()
    with _alone(Home.from_environment()) as alone:
        if not alone:
            report = Report(settings.dry_run, 0, notes=["another pass is at work on this host"])
        else:
            report = _pass(settings, steps)
        page = steps.do("report", publish, report)
    return report.to_json() | {
        "page": page,
        "steps": steps.to_json(),
        "seconds": round(time.perf_counter() - started, 1),
    }


def _pass(settings: ReconcileSettings, steps: Steps) -> Report:
    found = steps.do("observe", observe_all, str(flow_run.id), settings.lookback_days)
    actions = decide(
        found,
        Limits(
            stale=settings.stale_minutes * 60,
            grace=settings.grace_seconds,
            max_retries=settings.max_retries,
            retry_within=settings.retry_hours * 3600,
        ),
    )
    if settings.dry_run:
        outcomes = [Outcome(action, False) for action in actions]
    else:
        outcomes = steps.do("mend", mend_all, actions)
    tracking, failures, pushes = steps.do(
        "tracking", mend_record, found, outcomes, settings.grace_seconds, settings.dry_run
    )
    failures += [
        f"{one.action.title}: {one.detail}"
        for one in outcomes
        if not one.done and not settings.dry_run
    ]
    return Report(
        settings.dry_run,
        len(found.runs),
        outcomes,
        tracking,
        failures,
        found.notes,
        pushes,
    )


@contextlib.contextmanager
def _alone(home: Home) -> Iterator[bool]:
    """Whether no other pass is at work on this state folder while the block lasts."""
    home.path.mkdir(parents=True, exist_ok=True)
    handle = os.open(home.path / "reconcile.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def run_and_show(settings: ReconcileSettings) -> dict[str, Any]:
    """Run the flow in this process and print what it found and mended."""
    use_terminal()
    end_on_signals()
    result = reconcile(settings)
    print(result["page"])
    return result
