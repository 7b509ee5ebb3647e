"""What MLflow knows that a push wants: the run's page, and the champion's figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cft.home import Home
from tasks.notify.bounded import within

CHAMPION = "champion"
SECONDS = 5.0  # a local file needs one of them on a busy machine, a server that is down needs all


@dataclass(frozen=True)
class Known:
    """What was found in time.

    Attributes:
        run: experiment and id of the run's MLflow run.
        champion: version of the champion, and its tags.
    """

    run: tuple[str, str] | None = None
    champion: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def known_of(home: Home, job: str, model: str | None) -> Known:
    """Ask MLflow about a flow run, and about the champion of ``model``; empty without an answer."""
    if home.tracks_locally and not home.mlflow_database.exists():
        return Known()
    try:
        return within(SECONDS, _ask, home.tracking_uri, job, model)
    except Exception:  # the push is worth more than what it lacks
        return Known()


def _ask(uri: str, job: str, model: str | None) -> Known:
    # Here, not above: importing MLflow takes seconds, which count as well.
    from mlflow import MlflowClient

    from cft.tracking.registry import JOB_TAG, version_of

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    champion = version_of(client, model, CHAMPION) if model else None
    runs = client.search_runs(
        [one.experiment_id for one in client.search_experiments()],
        filter_string=f"tags.`{JOB_TAG}` = '{job}'",
        order_by=["attributes.start_time ASC"],  # a parent begins before its children
        max_results=1,
    )
    return Known(
        run=(runs[0].info.experiment_id, runs[0].info.run_id) if runs else None,
        champion=str(champion.version) if champion else None,
        tags=dict(champion.tags) if champion else {},
    )
