"""What MLflow missed reaches it later, and runs whose process is gone get their true end."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from cft.errors import one_line
from cft.home import Home
from cft.tracking.journal import Journal, journals
from cft.tracking.operations import ROLE_TAG
from cft.tracking.registry import JOB_TAG
from cft.tracking.replay import replay

logger = logging.getLogger("cft.tracking")

Ending = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class CaughtUp:
    """What became of a journal that was behind.

    Attributes:
        job: whose journal it is.
        operations: how many operations arrived.
        kept: how many are still to be sent.
        why: why some are; empty where all has arrived.
    """

    job: str
    operations: int
    kept: int = 0
    why: str = ""


@dataclass(frozen=True)
class ClosedRun:
    """A run that was left RUNNING, and how its job has ended."""

    job: str
    role: str
    status: Ending


def catch_up(home: Home) -> list[CaughtUp]:
    """Send what the tracking server of ``home`` has not taken yet, of every job.

    A journal that a living process replays at this moment is left to it. Once the server cannot
    be reached it is not asked again.

    Returns:
        One entry for each journal that was behind or follows a job.
    """
    uri, found, down = home.tracking_uri, [], ""
    for journal in journals(home, uri):
        before = journal.state()
        behind = journal.behind(before)
        if not behind and not before.following:
            continue
        if down:
            found.append(CaughtUp(journal.job, 0, behind, down))
            continue
        why = ""
        try:
            replay(journal, home, uri)
        except BlockingIOError:
            why = "another process is sending it"
        except Exception as error:  # urllib3, requests, sqlalchemy and MLflow have their own
            why = down = one_line(error)
            logger.warning("MLflow cannot be reached (%s); all is kept for later", down)
        kept = journal.behind(journal.state())
        found.append(CaughtUp(journal.job, behind - kept, kept, why))
    return found


def open_jobs(home: Home) -> set[str]:
    """Jobs with runs that have no end yet, in a journal or in MLflow.

    Raises:
        Exception: whatever the client raised; the server cannot be reached.
    """
    uri = home.tracking_uri
    jobs = {one.job for one in journals(home, uri) if one.open_roles()}
    return jobs | {run.data.tags[JOB_TAG] for run in _running(home)}


def close_orphans(home: Home, states: Mapping[str, Ending]) -> list[ClosedRun]:
    """End the runs that were left RUNNING by jobs that are over.

    Their end is written into their journal first, so that it arrives also where the server is
    down now. A job that turns out to be alive, or is retried, tells its own end later.

    Args:
        home: the state folder.
        states: job -> how it ended, of jobs that are over.

    Raises:
        Exception: whatever the client raised; the server cannot be reached. What the journals
            know is kept, call again later.
    """
    uri, closed = home.tracking_uri, []
    for job, status in states.items():
        journal = Journal.of(home, job, uri)
        # Children first: a parent never looks finished while a child still runs.
        for role in reversed(journal.open_roles()):
            journal.append("end", role, status=status)
            closed.append(ClosedRun(job, role, status))
    catch_up(home)
    client = _client(uri)
    for run in _running(home):  # of journals that were lost, or of other machines
        tags = run.data.tags
        if (ended := states.get(tags[JOB_TAG])) is not None:
            client.set_terminated(run.info.run_id, ended)
            closed.append(ClosedRun(tags[JOB_TAG], tags.get(ROLE_TAG, ""), ended))
    return closed


def _running(home: Home) -> list[Run]:
    """Runs of ours that have no end."""
    if home.tracks_locally and not home.mlflow_database.exists():
        return []  # asking would make it
    client = _client(home.tracking_uri)
    experiments = client.search_experiments(ViewType.ACTIVE_ONLY)
    asked = f"attributes.status = 'RUNNING' AND tags.`{JOB_TAG}` LIKE '%'"
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            [one.experiment_id for one in experiments], asked, page_token=token
        )
        found += page
        if not (token := page.token):
            return found


def _client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri, registry_uri=uri)
