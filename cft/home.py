"""The one state folder: data, backbones, stores, runs, and the two databases.

Everything that a run leaves behind lies under ``CFT_HOME`` (default ``~/.cft``), so a backup is a
copy of one folder and a clean slate is its removal.
"""

import os
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "CFT_HOME"
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class Home:
    """Paths under the state folder. Nothing is created until somebody writes."""

    path: Path

    @classmethod
    def from_environment(cls) -> "Home":
        """``CFT_HOME`` made absolute, or ``~/.cft`` when it is unset or empty."""
        given = os.environ.get(HOME_VARIABLE) or "~/.cft"
        return cls(Path(given).expanduser().absolute())

    @property
    def sources(self) -> Path:
        """Corpora as they were fetched."""
        return self.path / "sources"

    @property
    def data(self) -> Path:
        """Prepared corpora, one folder per content digest."""
        return self.path / "data"

    @property
    def backbones(self) -> Path:
        """Nano backbones, one folder per content digest."""
        return self.path / "backbones"

    @property
    def stores(self) -> Path:
        """Tokenised triplets, one folder per content digest."""
        return self.path / "stores"

    @property
    def evaluations(self) -> Path:
        """Figures and vectors of evaluated models, one folder per content digest."""
        return self.path / "evaluations"

    @property
    def embeddings(self) -> Path:
        """Cached vectors of texts that evaluations encoded."""
        return self.path / "embeddings"

    @property
    def runs(self) -> Path:
        """Run directories, one per flow run or training."""
        return self.path / "runs"

    @property
    def slots(self) -> Path:
        """Files whose locks say which job has a device of this host."""
        return self.path / "slots"

    @property
    def stack(self) -> Path:
        """Record and logs of the servers and workers that `cft up` runs."""
        return self.path / "stack"

    @property
    def prefect(self) -> Path:
        """Prefect's database, profiles and results."""
        return self.path / "prefect"

    @property
    def mlflow_database(self) -> Path:
        """MLflow's SQLite file."""
        return self.path / "mlflow" / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """MLflow's artifact root for experiments that live in :attr:`mlflow_database`."""
        return self.path / "mlflow" / "artifacts"

    @property
    def tracking_uri(self) -> str:
        """Where runs are tracked: ``MLFLOW_TRACKING_URI`` where set, else the SQLite file here."""
        return os.environ.get(TRACKING_VARIABLE) or self.local_tracking_uri

    @property
    def local_tracking_uri(self) -> str:
        """URI of the SQLite file under this folder."""
        return f"sqlite:///{self.mlflow_database}"

    @property
    def tracks_locally(self) -> bool:
        """Whether runs go to the SQLite file under this folder."""
        return self.tracking_uri == self.local_tracking_uri
