"""The tracking server and the phone: what they have missed reaches them now."""

import contextlib
import logging
from collections.abc import Mapping

from prefect.utilities.urls import url_for

from cft.errors import one_line
from cft.home import Home
from cft.tracking.catch_up import Ending, catch_up, close_orphans, open_jobs
from tasks.notify import Push, flush_outbox, push
from tasks.reconcile.facts import Found, Outcome

logger = logging.getLogger("cft.reconcile")

ENDINGS: Mapping[str, Ending] = {
    "COMPLETED": "FINISHED",
    "FAILED": "FAILED",
    "CANCELLED": "KILLED",
    "CRASHED": "KILLED",  # nobody gave a verdict on it: its process was killed
}


def mend_tracking(
    home: Home, found: Found, mended: list[Outcome], grace: float
) -> tuple[list[str], list[str]]:
    """Send what MLflow has not had, and end its runs whose flow run is over.

    Returns:
        What was mended and what could not be, as lines for the report.
    """
    lines: list[str] = []
    failures: list[str] = []
    try:
        for one in catch_up(home):
            if one.operations:
                lines.append(f"MLflow got {one.operations} records of {one.job}")
            if one.kept and one.why:
                failures.append(f"MLflow has not taken {one.kept} records of {one.job}: {one.why}")
        over, left = endings(found, mended, grace), open_jobs(home)
        closed = close_orphans(home, {job: over[job] for job in over if job in left})
        lines += [f"MLflow run {one.role} of {one.job} ended as {one.status}" for one in closed]
    except Exception as error:  # a tracking server that is down is met in the next pass
        failures.append(f"MLflow at {home.tracking_uri}: {one_line(error)}")
        logger.warning("MLflow could not be mended (%s)", one_line(error))
    return lines, failures


def orphans(home: Home, found: Found, mended: list[Outcome], grace: float) -> list[str]:
    """The MLflow runs that :func:`mend_tracking` would end."""
    over = endings(found, mended, grace)
    try:
        return [f"MLflow run of {job}: {over[job]}" for job in sorted(open_jobs(home) & set(over))]
    except Exception as error:
        return [f"MLflow at {home.tracking_uri}: {one_line(error)}"]


def endings(found: Found, mended: list[Outcome], grace: float) -> dict[str, Ending]:
    """How the jobs ended whose flow run is over and is not taken up again.

    A flow run that has just ended may still be telling its end itself, and one whose job lives
    is not over, whatever its state says.
    """
    done = {(one.action.kind, one.action.subject) for one in mended if one.done}
    found_out = {}
    for run in found.runs:
        state = run.state
        at_rest = run.watched != "alive" and run.work != "living" and run.state_seconds > grace
        if ("crash", run.id) in done:
            state, at_rest = "CRASHED", run.work != "living"
        if ("cancel", run.id) in done:
            state, at_rest = "CANCELLED", True
        if ("stop", run.id) in done:
            at_rest = True
        if at_rest and state in ENDINGS and ("retry", run.id) not in done:
            found_out[run.id] = ENDINGS[state]
    return found_out


def tell(home: Home, mended: list[Outcome]) -> int:
    """Push the deaths that no hook saw, and what the outbox still holds; how many were sent."""
    retried = {one.action.subject for one in mended if one.action.kind == "retry" and one.done}
    for one in mended:
        action = one.action
        if action.kind != "crash" or not one.done:
            continue
        again = "It is taken up again." if action.subject in retried else "Nobody takes it up."
        page = None
        with contextlib.suppress(Exception):
            page = url_for("flow-run", obj_id=action.subject)
        push(
            Push(
                title=f"{action.title} crashed",
                body=f"Found dead: {action.reason}. {again}",
                priority=5,
                tags=("skull",),
                click=page,
            ),
            # As the hooks of the flow would name it: whoever of us saw it first has told it.
            f"{action.subject}-crashed-{action.number}",
            home=home,
        )
    return flush_outbox(home)
