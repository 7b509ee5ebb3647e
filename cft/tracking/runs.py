"""Runs in MLflow: created before the work, told how it ended, whatever happened."""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.time import get_current_time_millis

from cft.errors import CftError
from cft.home import Home
from cft.tracking.mirror import legal, one_line

logger = logging.getLogger("cft.tracking")

ROLE_TAG = "cft.role"
JOB_TAG = "cft.job"


@dataclass(frozen=True)
class TrackedRun:
    """One MLflow run and what may be written to it. Plain data; every call can be repeated."""

    uri: str
    id: str
    experiment_id: str

    @property
    def client(self) -> MlflowClient:
        """A client of the run's server; MLflow keeps the connections."""
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def params(self, values: Mapping[str, Any]) -> None:
        """Log settings; a value that the run has already, equal or not, stays as it is."""
        present = self.client.get_run(self.id).data.params
        fresh = [
            Param(legal(name), as_text(value)[:6000])
            for name, value in values.items()
            if legal(name) not in present
        ]
        for start in range(0, len(fresh), 100):
            self.client.log_batch(self.id, params=fresh[start : start + 100])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log figures at one step."""
        now = get_current_time_millis()
        rows = [Metric(legal(name), float(value), now, step) for name, value in values.items()]
        for start in range(0, len(rows), 1000):
            self.client.log_batch(self.id, metrics=rows[start : start + 1000])

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags; ``None`` values are left out."""
        tags = [RunTag(key, as_text(value)[:8000]) for key, value in present(values).items()]
        for start in range(0, len(tags), 100):
            self.client.log_batch(self.id, tags=tags[start : start + 100])

    def file(self, path: Path, folder: str | None = None) -> None:
        """Store a file as an artifact, below ``folder``."""
        self.client.log_artifact(self.id, str(path), folder)

    def text(self, content: str, name: str) -> None:
        """Store a text as the artifact ``name``."""
        self.client.log_text(self.id, content, name)

    def dataset(
        self, name: str, digest: str, source: Path, profile: Mapping[str, Any], context: str
    ) -> None:
        """Log a dataset as an input: its name, digest and where it lies; never its content."""
        dataset = Dataset(
            name=name,
            digest=digest,
            source_type="local",
            source=json.dumps({"uri": str(source)}),
            profile=json.dumps(profile),
        )
        tag = InputTag("mlflow.data.context", context)
        self.client.log_inputs(self.id, [DatasetInput(dataset, [tag])])


@dataclass(frozen=True)
class Tracking:
    """MLflow as this project uses it: one experiment, runs within runs. Plain data."""

    uri: str
    experiment_id: str

    @classmethod
    def open(cls, home: Home, experiment: str) -> "Tracking":
        """Reach the tracking server of ``home`` and make sure of the experiment.

        Raises:
            CftError: the tracking server cannot be reached.
        """
        uri = home.tracking_uri
        if home.tracks_locally:
            home.mlflow_database.parent.mkdir(parents=True, exist_ok=True)
        try:
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            return cls(uri, _experiment(client, experiment, home))
        except Exception as error:  # urllib3, requests, sqlalchemy and MLflow all have their own
            raise CftError(
                f"MLflow at {uri}: {one_line(error)}; start it, or unset MLFLOW_TRACKING_URI "
                "to track in CFT_HOME"
            ) from error

    @property
    def client(self) -> MlflowClient:
        """A client of the tracking server and its registry."""
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @contextlib.contextmanager
    def run(
        self,
        name: str,
        *,
        role: str,
        job: str,
        parent: str | None = None,
        tags: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Iterator[TrackedRun]:
        """A run that ends as the block ends: FINISHED, FAILED (an error) or KILLED (a signal).

        The same ``job`` and ``role`` find the same run again: a retry continues it.
        """
        run_id = self._find(job, role) or self._create(name, role, job, parent)
        run = TrackedRun(self.uri, run_id, self.experiment_id)
        status = RunStatus.to_string(RunStatus.FAILED)
        try:
            run.tags(tags or {})
            run.params(params or {})
            yield run
            status = RunStatus.to_string(RunStatus.FINISHED)
        except BaseException as error:
            if not isinstance(error, Exception):  # KeyboardInterrupt, SIGTERM, cancellation
                status = RunStatus.to_string(RunStatus.KILLED)
            with contextlib.suppress(Exception):
                run.tags({"cft.error": one_line(error, 500)})
            raise
        finally:
            try:
                self.client.set_terminated(run_id, status)
            except Exception as error:  # the reason why the block ended matters more
                logger.warning("MLflow run %s was not closed (%s)", run_id, one_line(error))

    def _find(self, job: str, role: str) -> str | None:
        found = self.client.search_runs(
            [self.experiment_id],
            filter_string=f"tags.`{JOB_TAG}` = '{job}' AND tags.`{ROLE_TAG}` = '{role}'",
            max_results=1,
        )
        if not found:
            return None
        self.client.update_run(found[0].info.run_id, status="RUNNING")
        return found[0].info.run_id

    def _create(self, name: str, role: str, job: str, parent: str | None) -> str:
        tags = present({JOB_TAG: job, ROLE_TAG: role, MLFLOW_PARENT_RUN_ID: parent})
        return self.client.create_run(self.experiment_id, tags=tags, run_name=name).info.run_id


def _experiment(client: MlflowClient, name: str, home: Home) -> str:
    """Id of the experiment, made when it is missing; two makers at once are fine."""
    found = client.get_experiment_by_name(name)
    if found is None:
        # A server decides itself where artifacts go; the SQLite file has no opinion but the cwd.
        place = home.mlflow_artifacts.as_uri() if home.tracks_locally else None
        try:
            return client.create_experiment(name, artifact_location=place)
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:  # nobody was quicker: it is a real error
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def as_text(value: Any) -> str:
    """A value as MLflow keeps it: texts as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are not ``None``."""
    return {key: value for key, value in values.items() if value is not None}
