"""One run as MLflow has it, and what may be written to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.utils.time import get_current_time_millis

from cft.tracking.mirror import legal


@dataclass(frozen=True)
class ServerRun:
    """A run on a tracking server. Every call talks to the server and can be repeated."""

    uri: str
    id: str
    experiment_id: str

    @property
    def client(self) -> MlflowClient:
        """A client of the run's server; MLflow keeps the connections."""
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def params(self, values: Mapping[str, Any]) -> None:
        """Log settings; a value that the run has already, equal or not, stays as it is."""
        if not values:
            return
        present = self.client.get_run(self.id).data.params
        fresh = [
            Param(legal(name), as_text(value)[:6000])
            for name, value in values.items()
            if legal(name) not in present
        ]
        for start in range(0, len(fresh), 100):
            self.client.log_batch(self.id, params=fresh[start : start + 100])

    def metrics(
        self,
        values: Mapping[str, Any],
        step: int = 0,
        model_id: str | None = None,
        at: float | None = None,
    ) -> None:
        """Log figures at one step; with a model's id they stand on that model's page as well.

        Args:
            values: by name.
            step: of all of them.
            model_id: of a logged model.
            at: unix seconds; now where it is missing. MLflow keeps one of several equal points.
        """
        stamp = get_current_time_millis() if at is None else int(at * 1000)
        rows = [
            Metric(legal(name), float(value), stamp, step, model_id)
            for name, value in values.items()
        ]
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

    def files(self, path: Path, folder: str) -> None:
        """Store every file of a folder as artifacts below ``folder``, the tree as it is."""
        self.client.log_artifacts(self.id, str(path), folder)

    def text(self, content: str, name: str) -> None:
        """Store a text as the artifact ``name``."""
        self.client.log_text(self.id, content, name)

    def dataset(
        self, name: str, digest: str, source: str, profile: Mapping[str, Any], context: str
    ) -> None:
        """Log a dataset as an input: its name, digest and where it lies; never its content."""
        dataset = Dataset(
            name=name,
            digest=digest,
            source_type="local",
            source=json.dumps({"uri": source}),
            profile=json.dumps(profile),
        )
        tag = InputTag("mlflow.data.context", context)
        self.client.log_inputs(self.id, [DatasetInput(dataset, [tag])])


def as_text(value: Any) -> str:
    """A value as MLflow keeps it: texts as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are not ``None``."""
    return {key: value for key, value in values.items() if value is not None}
