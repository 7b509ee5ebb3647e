"""What each operation of a journal does with a tracking server; doing it again changes nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    INVALID_STATE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from cft.errors import CftError
from cft.home import Home
from cft.tracking.journal import Journal, Replayed
from cft.tracking.mirror import EventMirror
from cft.tracking.registry import JOB_TAG, log_embedder, register
from cft.tracking.run_directory import RunDirectory
from cft.tracking.scores import find_version, log_scores, names_version
from cft.tracking.server_run import ServerRun

ROLE_TAG = "cft.role"
ERROR_TAG = "cft.error"
UNTIED_TAG = "cft.scores_of"
ALIAS_SECONDS = 600  # after so long an alias may mean another version than the one that was scored
_REFUSALS = {
    ErrorCode.Name(code)
    for code in (
        INVALID_PARAMETER_VALUE,
        INVALID_STATE,
        RESOURCE_ALREADY_EXISTS,
        RESOURCE_DOES_NOT_EXIST,
    )
}


@dataclass(frozen=True)
class Server:
    """Where operations go: a tracking server, the journal that they come from, its answers."""

    home: Home
    uri: str
    journal: Journal
    state: Replayed

    @property
    def client(self) -> MlflowClient:
        """A client of the server and its registry; MLflow keeps the connections."""
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def run(self, role: str) -> ServerRun:
        """The run of a role.

        Raises:
            CftError: its beginning was refused.
        """
        return ServerRun(self.uri, *_answer(self.state.runs, role, "run"))

    def sync(self, role: str) -> int:
        """Send what is new in the event log that a run follows; returns the number of events."""
        run, folder = self.run(role), RunDirectory(self.state.following[role])
        return EventMirror(run.client, run.id, folder).sync()


def apply(server: Server, entry: dict[str, Any]) -> None:
    """Tell the server one operation and note what it answered in the state.

    Raises:
        Exception: whatever the client raised.
        CftError: what the operation builds upon was refused.
    """
    _OPERATIONS[entry["op"]](server, entry)


def _begin(server: Server, entry: dict[str, Any]) -> None:
    """Find the run of this job and role, or make it; a retry goes on in the same run."""
    client, role = server.client, entry["role"]
    experiment = find_experiment(client, entry["experiment"], server.home)
    found = find_run(client, experiment, server.journal.job, role)
    if found is None:
        tags = {JOB_TAG: server.journal.job, ROLE_TAG: role}
        if parent := entry.get("parent"):
            tags[MLFLOW_PARENT_RUN_ID] = server.run(parent).id
        begun = int(entry["t"] * 1000)
        found = client.create_run(experiment, begun, tags, entry["name"])
    else:
        client.update_run(found.info.run_id, status="RUNNING")
        if ERROR_TAG in found.data.tags:  # of the attempt before
            client.delete_tag(found.info.run_id, ERROR_TAG)
    server.state.runs[role] = found.info.run_id, experiment
    run = server.run(role)
    run.tags(entry["tags"])
    run.params(entry["params"])


def _params(server: Server, entry: dict[str, Any]) -> None:
    server.run(entry["role"]).params(entry["values"])


def _metrics(server: Server, entry: dict[str, Any]) -> None:
    server.run(entry["role"]).metrics(entry["values"], entry["step"], at=entry["t"])


def _tags(server: Server, entry: dict[str, Any]) -> None:
    server.run(entry["role"]).tags(entry["values"])


def _file(server: Server, entry: dict[str, Any]) -> None:
    server.run(entry["role"]).file(_there(entry["path"]), entry["folder"])


def _files(server: Server, entry: dict[str, Any]) -> None:
    server.run(entry["role"]).files(_there(entry["path"]), entry["folder"])


def _text(server: Server, entry: dict[str, Any]) -> None:
    server.run(entry["role"]).text(entry["content"], entry["name"])


def _dataset(server: Server, entry: dict[str, Any]) -> None:
    server.run(entry["role"]).dataset(
        entry["name"], entry["digest"], entry["source"], entry["profile"], entry["context"]
    )


def _follow(server: Server, entry: dict[str, Any]) -> None:
    server.state.following[entry["role"]] = entry["path"]
    server.sync(entry["role"])


def _model(server: Server, entry: dict[str, Any]) -> None:
    server.state.models[entry["role"]] = log_embedder(
        server.run(entry["role"]),
        adapter=_there(entry["path"]),
        backbone=Path(entry["backbone"]),
        backbone_digest=entry["backbone_digest"],
    )


def _register(server: Server, entry: dict[str, Any]) -> None:
    """Register the model of a run; tags that name other runs get the ids that they have now."""
    role, state = entry["role"], server.state
    tags = dict(entry["tags"])
    tags |= {tag: _answer(state.runs, other, "run")[0] for tag, other in entry["runs"].items()}
    tags |= {tag: _answer(state.models, other, "model") for tag, other in entry["models"].items()}
    made = register(
        server.client,
        _answer(state.models, role, "model"),
        entry["name"],
        run_id=server.run(role).id,
        job=server.journal.job,
        tags=tags,
        description=entry["description"],
    )
    state.versions[role] = str(made.version)


def _scores(server: Server, entry: dict[str, Any]) -> None:
    """Scores of one suite, on the version that was scored.

    They are tied to no version where the registry does not know it any more, or where an alias has
    had time to move to another one.
    """
    run, reference, version = server.run(entry["role"]), entry["reference"], None
    if "@" not in reference or time.time() - entry["t"] < ALIAS_SECONDS:
        try:
            version = find_version(run.client, reference)
        except MlflowException as error:
            if not is_refusal(error):
                raise
    if version is None and names_version(reference):
        run.tags({UNTIED_TAG: reference})
    log_scores(
        run,
        entry["suite"],
        entry["metrics"],
        version=version,
        headline=entry["headline"],
        contaminated=entry["contaminated"],
        at=entry["t"],
    )


def _end(server: Server, entry: dict[str, Any]) -> None:
    """Send the rest of what the run follows, then how and when it ended."""
    role = entry["role"]
    run = server.run(role)
    if role in server.state.following:
        server.sync(role)
        del server.state.following[role]
    run.client.set_terminated(run.id, entry["status"], int(entry["t"] * 1000))


_OPERATIONS: dict[str, Callable[[Server, dict[str, Any]], None]] = {
    "begin": _begin,
    "params": _params,
    "metrics": _metrics,
    "tags": _tags,
    "file": _file,
    "files": _files,
    "text": _text,
    "dataset": _dataset,
    "follow": _follow,
    "model": _model,
    "register": _register,
    "scores": _scores,
    "end": _end,
}


def find_run(client: MlflowClient, experiment: str, job: str, role: str) -> Run | None:
    """The run that a job has in a role."""
    asked = f"tags.`{JOB_TAG}` = '{job}' AND tags.`{ROLE_TAG}` = '{role}'"
    found = client.search_runs([experiment], filter_string=asked, max_results=1)
    return found[0] if found else None


def find_experiment(client: MlflowClient, name: str, home: Home) -> str:
    """Id of the experiment, made when it is missing; two makers at once are fine."""
    local = client.tracking_uri == home.local_tracking_uri
    if local:
        home.mlflow_database.parent.mkdir(parents=True, exist_ok=True)
    found = client.get_experiment_by_name(name)
    if found is None:
        # A server decides itself where artifacts go; the SQLite file has no opinion but the cwd.
        place = home.mlflow_artifacts.as_uri() if local else None
        try:
            return client.create_experiment(name, artifact_location=place)
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:  # nobody was quicker: it is a real error
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def is_refusal(error: MlflowException) -> bool:
    """Whether the server has understood and said no."""
    return error.error_code in _REFUSALS


def _answer(answers: dict[str, Any], role: str, what: str) -> Any:
    if role not in answers:
        raise CftError(f"{role}: its {what} was refused")
    return answers[role]


def _there(path: str) -> Path:
    if not Path(path).exists():
        raise CftError(f"{path}: gone before it could be sent")
    return Path(path)
