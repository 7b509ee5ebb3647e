"""Pushes from within a flow: the gate's word, a new champion, a person's approval wanted.

Each takes plain data, is pushed once for its run and version however often the step is repeated,
and never raises or waits long.
"""

import logging
from collections.abc import Sequence
from typing import Any

from prefect import get_run_logger
from prefect.exceptions import MissingContextError

from cft.home import Home
from tasks.notify.delivery import push
from tasks.notify.links import flow_run_page, version_page
from tasks.notify.message import Action, Push

LINES = 12  # a gate with many slices has more to say than a phone shows


def gate_passed(
    *,
    model: str,
    version: str,
    flow_run_id: str,
    champion: str | None = None,
    lines: Sequence[str] = (),
    home: Home | None = None,
) -> bool:
    """A challenger passed the gate.

    Args:
        model: name of the registered model.
        version: of the challenger.
        flow_run_id: of the run whose gate it was; opens on a tap.
        champion: version that it was compared with; None for the first.
        lines: figures and verdicts, one a line.
        home: the state folder; that of the environment by default.

    Returns:
        Whether it was sent; what could not be sent is sent later.
    """
    against = f"against version {champion}" if champion else "with no champion to beat"
    return _tell(
        "gate-passed",
        f"Gate passed: {model} version {version}",
        [f"Passed {against}.", *lines],
        (3, "green_circle"),
        (model, version, flow_run_id, home),
    )


def gate_refused(
    *,
    model: str,
    version: str,
    flow_run_id: str,
    champion: str | None = None,
    reasons: Sequence[str] = (),
    home: Home | None = None,
) -> bool:
    """A challenger was refused; ``reasons`` say by what. Arguments as of :func:`gate_passed`."""
    against = f"Not better than version {champion}." if champion else "Refused."
    return _tell(
        "gate-refused",
        f"Gate refused: {model} version {version}",
        [against, *reasons],
        (4, "red_circle"),
        (model, version, flow_run_id, home),
    )


def champion_changed(
    *,
    model: str,
    version: str,
    flow_run_id: str,
    previous: str | None = None,
    reason: str = "",
    home: Home | None = None,
) -> bool:
    """Another version serves now, by promotion or by rollback.

    Args:
        model: name of the registered model.
        version: of the new champion.
        flow_run_id: of the run that changed it.
        previous: version that served before.
        reason: why, in words.
        home: the state folder; that of the environment by default.
    """
    before = f"It replaces version {previous}." if previous else "It is the first."
    return _tell(
        "champion",
        f"New champion: {model} version {version}",
        [before, *([reason] if reason else [])],
        (4, "trophy"),
        (model, version, flow_run_id, home),
    )


def approval_wanted(
    *,
    model: str,
    version: str,
    flow_run_id: str,
    champion: str | None = None,
    lines: Sequence[str] = (),
    hours: float | None = None,
    home: Home | None = None,
) -> bool:
    """A challenger waits for a person; the tap opens the run, whose form decides.

    Args:
        model: name of the registered model.
        version: of the challenger.
        flow_run_id: of the run that waits.
        champion: version that serves meanwhile.
        lines: figures and verdicts, one a line.
        hours: after which nobody's word counts as a no.
        home: the state folder; that of the environment by default.
    """
    until = f" within {hours:g} h" if hours else ""
    serves = f" Version {champion} serves meanwhile." if champion else ""
    return _tell(
        "approval",
        f"Approval wanted: {model} version {version}",
        [f"Open the run, press Resume and decide{until}.{serves}", *lines],
        (5, "raised_hand"),
        (model, version, flow_run_id, home),
    )


def _tell(
    what: str,
    title: str,
    lines: Sequence[str],
    style: tuple[int, str],
    about: tuple[str, str, str, Home | None],
) -> bool:
    model, version, flow_run_id, given = about
    home = given or Home.from_environment()
    shown = [line for line in lines if line.strip()]
    if len(shown) > LINES:
        shown = [*shown[:LINES], f"and {len(shown) - LINES} more lines in the report"]
    message = Push(
        title=title,
        body="\n".join(shown),
        priority=style[0],
        tags=(style[1], "cft"),
        click=flow_run_page(flow_run_id),
        actions=(Action("Version in MLflow", version_page(home, model, version)),),
    )
    return push(message, f"{flow_run_id}-{what}-{model}-{version}", home=home, say=_logger())


def _logger() -> Any:
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("cft.notify")
