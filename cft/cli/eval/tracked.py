"""Results of a benchmark in MLflow: flat metrics, the summary and mteb's own files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cft.recipe import TrackingRecipe

if TYPE_CHECKING:
    from cft.tracking.runs import Tracking

tracking_options = (
    click.option(
        "--track/--no-track", default=True, show_default=True,
        help="Log metrics and the summary to MLflow (MLFLOW_TRACKING_URI, else CFT_HOME).",
    ),
    click.option(
        "--experiment", default=TrackingRecipe().experiment, show_default=True, metavar="NAME",
        help="MLflow experiment.",
    ),
    click.option("--run-name", metavar="NAME", help="MLflow run.  [default: verb and model]"),
)  # fmt: skip


def with_tracking_options(command: Any) -> Any:
    """Decorator: the flags of :data:`tracking_options`."""
    for option in reversed(tracking_options):
        command = option(command)
    return command


def opened_tracking(track: bool, experiment: str) -> "Tracking | None":
    """The tracking store; None where nothing is tracked."""
    from cft.home import Home
    from cft.tracking.runs import Tracking

    return Tracking.open(Home.from_environment(), experiment) if track else None


def log_summary(
    tracking: "Tracking | None",
    *,
    name: str,
    job: str,
    metrics: Mapping[str, float],
    params: Mapping[str, Any],
    summary: Path,
    files: Mapping[str, Path] | None = None,
    tags: Mapping[str, Any] | None = None,
) -> None:
    """One run a job: the same job again goes on in the same run.

    Args:
        tracking: from :func:`opened_tracking`.
        name: name of the run.
        job: what makes two calls the same work.
        metrics: figures by stable name.
        params: settings and what was evaluated.
        summary: markdown, stored as it is.
        files: further artifacts, by name, below ``results/``.
        tags: what the same job may change.
    """
    if tracking is None:
        return
    with tracking.run(name, role="benchmark", job=job, params=params, tags=tags) as run:
        run.metrics(metrics)
        run.file(summary)
        for path in (files or {}).values():
            run.file(path, "results")
    click.echo(f"MLflow run {run.id or 'pending: it is sent when MLflow answers'}", err=True)
