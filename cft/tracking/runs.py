"""Runs in MLflow: begun before the work, told how it ended, whatever happened to the server.

What a run says goes into the journal of its job (:mod:`cft.tracking.journal`) and from there to
MLflow (:mod:`cft.tracking.replay`), so no call here waits for a server or fails because of one.
Only what the server alone can say is waited for: ids, a model's URI, a version's number.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient

from cft.errors import CftError, one_line
from cft.home import Home
from cft.tracking.journal import Journal, Replayed
from cft.tracking.operations import ERROR_TAG, find_experiment
from cft.tracking.replay import Replayer
from cft.tracking.run_directory import RunDirectory, finite
from cft.tracking.server_run import as_text, present

logger = logging.getLogger("cft.tracking")

PATIENCE = 30.0  # seconds for which a run waits for its server, all its waiting together
PATIENCE_LOCALLY = 120.0  # a file is never down, but on a busy machine it takes long to set up
IN_HASTE = 15.0  # of them, where a signal ends the run and something harder may follow
PENDING = "pending"
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class TrackedRun:
    """One run of a job and what may be said of it. Plain data; every call can be repeated."""

    home: Home
    uri: str
    job: str
    role: str

    @property
    def id(self) -> str | None:
        """MLflow's id of the run; None while the server has not taken it."""
        return self._answer(lambda state: state.runs.get(self.role, (None,))[0])

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the experiment; None while the server has not taken the run."""
        return self._answer(lambda state: state.runs.get(self.role, (None, None))[1])

    @property
    def model_uri(self) -> str | None:
        """``models:/m-…`` of the run's logged model; None while the server has not taken it."""
        return self._answer(lambda state: state.models.get(self.role))

    @property
    def version(self) -> str | None:
        """Number of the version that :meth:`register` made; None while there is none."""
        return self._answer(lambda state: state.versions.get(self.role))

    @property
    def pending(self) -> bool:
        """Whether MLflow has not taken everything yet."""
        journal = self._replayer.journal
        return bool(journal.behind(journal.state()))

    @property
    def client(self) -> MlflowClient:
        """A client of the run's server; MLflow keeps the connections."""
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def params(self, values: Mapping[str, Any]) -> None:
        """Log settings; a value that the run has already, equal or not, stays as it is."""
        self._say("params", values=_texts(values))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log figures at one step."""
        numbers = {name: float(value) for name, value in values.items()}
        self._say("metrics", values=finite(numbers), step=step)

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags; ``None`` values are left out."""
        self._say("tags", values=_texts(present(values)))

    def file(self, path: Path, folder: str | None = None) -> None:
        """Store a file as an artifact, below ``folder``."""
        self._say("file", path=str(self._kept(path)), folder=folder)

    def files(self, path: Path, folder: str) -> None:
        """Store every file of a folder as artifacts below ``folder``, the tree as it is."""
        self._say("files", path=str(self._kept(path)), folder=folder)

    def text(self, content: str, name: str) -> None:
        """Store a text as the artifact ``name``."""
        self._say("text", content=content, name=name)

    def dataset(
        self, name: str, digest: str, source: Path, profile: Mapping[str, Any], context: str
    ) -> None:
        """Log a dataset as an input: its name, digest and where it lies; never its content."""
        about = {"profile": dict(profile), "context": context}
        self._say("dataset", name=name, digest=digest, source=str(source), **about)

    def follow(self, run: RunDirectory) -> None:
        """Let the event log of a run directory become this run's metrics and params, as it grows.

        It is read to its end before the run's own end is told, also by whoever catches up later.
        """
        self._say("follow", path=str(run.path.absolute()))

    def model(self, *, adapter: Path, backbone: Path, backbone_digest: str) -> None:
        """Log an adapter as the run's loadable model: see
        :func:`cft.tracking.registry.log_embedder`."""
        about = {"backbone": str(backbone), "backbone_digest": backbone_digest}
        self._say("model", path=str(self._kept(adapter)), **about)

    def register(
        self,
        name: str,
        *,
        tags: Mapping[str, Any],
        runs: Mapping[str, "TrackedRun"] | None = None,
        models: Mapping[str, "TrackedRun"] | None = None,
        description: str = "",
    ) -> None:
        """Make the run's model the newest version of ``name``: the alias ``candidate``.

        Args:
            name: of the registered model.
            tags: of the version; ``None`` values are left out.
            runs: tag -> run whose id it will hold.
            models: tag -> run whose model's URI it will hold.
            description: of the version.
        """
        self._say(
            "register",
            name=name,
            tags=_texts(present(tags)),
            runs={tag: run.role for tag, run in (runs or {}).items()},
            models={tag: run.role for tag, run in (models or {}).items()},
            description=description,
        )

    def scores(
        self,
        suite: str,
        metrics: Mapping[str, float],
        *,
        reference: str = "",
        headline: Mapping[str, float] | None = None,
        contaminated: bool = False,
    ) -> None:
        """Log the scores of one suite; of a registered version, on that version as well.

        Args:
            suite: name of the suite, which goes before every metric.
            metrics: values by name, intervals included.
            reference: what was evaluated; ``models:/NAME@ALIAS`` and ``models:/NAME/VERSION`` name
                a registered version.
            headline: the few values that stand as tags on the version.
            contaminated: whether the model saw texts of the suite in training.
        """
        self._say(
            "scores",
            suite=suite,
            metrics=finite({name: float(value) for name, value in metrics.items()}),
            reference=reference,
            headline=finite(dict(headline or {})),
            contaminated=contaminated,
        )

    @property
    def _replayer(self) -> Replayer:
        return Replayer.of(Journal.of(self.home, self.job, self.uri), self.home, self.uri)

    def _say(self, operation: str, **fields: Any) -> None:
        replayer = self._replayer
        replayer.journal.append(operation, self.role, **fields)
        replayer.wake()

    def _answer(self, answer: Callable[[Replayed], Answer | None]) -> Answer | None:
        return self._replayer.wait(answer)

    def _kept(self, path: Path) -> Path:
        """The path, or a copy: what lies outside the state folder is not ours to rely on."""
        path = path.absolute()
        if path.is_relative_to(self.home.path):
            return path
        return self._replayer.journal.keep(path)


@dataclass(frozen=True)
class Tracking:
    """MLflow as this project uses it: one experiment, runs within runs. Plain data."""

    home: Home
    uri: str
    experiment: str
    patience: float = PATIENCE

    @classmethod
    def open(cls, home: Home, experiment: str, patience: float = PATIENCE) -> "Tracking":
        """The tracking server of ``home``; nothing is asked of it yet.

        Args:
            home: the state folder.
            experiment: name of the experiment; made when the first run arrives.
            patience: seconds for which a job waits for a server, all its waiting together. What
                has not arrived by then is kept and sent later.
        """
        if home.tracks_locally:
            patience = max(patience, PATIENCE_LOCALLY)
        return cls(home, home.tracking_uri, experiment, patience)

    @property
    def client(self) -> MlflowClient:
        """A client of the tracking server and its registry."""
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @property
    def experiment_id(self) -> str:
        """Id of the experiment, made when it is missing; asks the server.

        Raises:
            CftError: the tracking server cannot be reached.
        """
        try:
            return find_experiment(self.client, self.experiment, self.home)
        except Exception as error:  # urllib3, requests, sqlalchemy and MLflow all have their own
            raise CftError(
                f"MLflow at {self.uri}: {one_line(error)}; start it, or unset MLFLOW_TRACKING_URI "
                "to track in CFT_HOME"
            ) from error

    @contextlib.contextmanager
    def run(
        self,
        name: str,
        *,
        role: str,
        job: str,
        parent: TrackedRun | None = None,
        tags: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Iterator[TrackedRun]:
        """A run that ends as the block ends: FINISHED, FAILED (an error) or KILLED (a signal).

        The same ``job`` and ``role`` find the same run again: a retry continues it. The end of a
        job's outermost block waits until MLflow has taken everything, as long as its patience
        lasts.
        """
        journal = Journal.of(self.home, job, self.uri)
        replayer = Replayer.of(journal, self.home, self.uri)
        if not replayer.open:
            replayer.patience = self.patience
        replayer.open += 1
        run = TrackedRun(self.home, self.uri, job, role)
        status = "FAILED"
        try:
            run._say(
                "begin",
                name=name,
                experiment=self.experiment,
                parent=parent.role if parent else None,
                tags=_texts(present(tags or {})),
                params=_texts(params or {}),
            )
            yield run
            status = "FINISHED"
        except BaseException as error:
            if not isinstance(error, Exception):  # KeyboardInterrupt, SIGTERM, cancellation
                status = "KILLED"
            with contextlib.suppress(OSError):  # a full disk: what ended the block matters more
                run.tags({ERROR_TAG: one_line(error, 500)})
            raise
        finally:
            replayer.open -= 1
            run._say("end", status=status)
            if not replayer.open:
                left = replayer.patience
                replayer.finish(min(left, IN_HASTE) if status == "KILLED" else left)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: as_text(value) for name, value in values.items()}
