"""Runs end truthfully; versions, aliases and their two kinds of absence."""

import json
import os
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from cft.errors import CftError
from cft.home import Home
from cft.tracking import registry
from cft.tracking.runs import Tracking
from tests.processes import until


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def tracking(home: Home, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Tracking.open(home, "registry")


def status(tracking: Tracking, run_id: str) -> str:
    return tracking.client.get_run(run_id).info.status


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "FINISHED"),
        (ValueError("the loss is NaN"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
    ],
)
def test_a_run_ends_as_its_block_ends(tracking, error, expected) -> None:
    seen = []

    def block() -> None:
        with tracking.run("r", role="two-stage", job=f"job-{expected}-{error!r:.5}") as run:
            seen.append(run.id)
            assert status(tracking, run.id) == "RUNNING"
            if error is not None:
                raise error

    if error is None:
        block()
    else:
        with pytest.raises(type(error)):
            block()
    assert status(tracking, seen[0]) == expected
    if expected == "FAILED":
        tags = tracking.client.get_run(seen[0]).data.tags
        assert tags["cft.error"] == "the loss is NaN"


def test_a_retry_continues_the_same_run(tracking) -> None:
    with pytest.raises(RuntimeError), tracking.run("r", role="stage1", job="retry") as first:
        first.params({"lr": 0.1})
        raise RuntimeError("crash")
    with tracking.run("r", role="stage1", job="retry", params={"lr": 0.2, "steps": 5}) as second:
        assert until(lambda: status(tracking, second.id) == "RUNNING")
    assert second.id == first.id
    assert status(tracking, second.id) == "FINISHED"
    params = tracking.client.get_run(second.id).data.params
    assert params == {"lr": "0.1", "steps": "5"}, "params are written once"
    with tracking.run("r", role="stage2", job="retry") as other:
        assert other.id != first.id


def test_what_a_run_holds(tracking, home: Home, tmp_path: Path) -> None:
    values = {f"section.{index}": index for index in range(150)} | {
        "long": "x" * 9000,
        "none": None,
    }
    figures = {"base/sa_en/recall_at_1": 0.25, "stage1/sa_en/recall@1": 0.5}
    (tmp_path / "table.md").write_text("| a |", encoding="utf-8")
    with tracking.run("parent", role="two-stage", job="full", params=values) as parent:
        parent.metrics(figures)
        parent.tags({"git_commit": "abc", "absent": None})
        parent.file(tmp_path / "table.md", "report")
        parent.text("{}", "data/manifest.json")
        parent.dataset("epic", "0123456789abcdef", tmp_path, {"rows": 3}, "training")
        with tracking.run("child", role="stage1", job="full", parent=parent) as child:
            pass
    run = tracking.client.get_run(parent.id)
    assert len(run.data.params) == 152
    assert len(run.data.params["long"]) == 6000
    assert run.data.params["none"] == "null"
    assert run.data.metrics == {"base/sa_en/recall_at_1": 0.25, "stage1/sa_en/recall_1": 0.5}
    assert run.data.tags["git_commit"] == "abc"
    assert "absent" not in run.data.tags
    (one,) = run.inputs.dataset_inputs
    assert (one.dataset.name, one.dataset.digest) == ("epic", "0123456789abcdef")
    assert json.loads(one.dataset.profile) == {"rows": 3}
    assert one.tags[0].value == "training"
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    assert artifacts.is_relative_to(home.mlflow_artifacts)
    assert (artifacts / "report" / "table.md").read_text(encoding="utf-8") == "| a |"
    child_tags = tracking.client.get_run(child.id).data.tags
    assert child_tags["mlflow.parentRunId"] == parent.id


def test_an_unreachable_server_is_one_line(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    unreachable = Tracking.open(home, "registry")
    with pytest.raises(
        CftError, match=r"^MLflow at http://127\.0\.0\.1:9: .*unset MLFLOW"
    ) as error:
        _ = unreachable.experiment_id
    assert "\n" not in str(error.value)


def logged(tracking: Tracking, run, tmp_path: Path) -> str:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    return registry.log_embedder(
        run, adapter=adapter, backbone=tmp_path / "base", backbone_digest="d" * 16
    )


@pytest.mark.parametrize("before", [None, "sqlite:///elsewhere.db"])
@pytest.mark.parametrize("variable", [None, "sqlite:///of_the_shell.db"])
def test_registering_leaves_mlflows_own_settings_alone(
    tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before, variable
) -> None:
    job = f"settings-{before is None}-{variable is None}"
    with tracking.run("r", role="stage1", job=job) as run:
        uri = logged(tracking, run, tmp_path)
    mlflow.set_tracking_uri(before)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if variable is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    try:
        was = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
        made = registry.register(
            tracking.client, uri, "left-alone", run_id=run.id, job=job, tags={}
        )
        assert made.source == uri
        assert (mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")) == was
    finally:
        mlflow.set_tracking_uri(None)


def test_a_version_carries_its_lineage(tracking, tmp_path: Path) -> None:
    with tracking.run("stage2", role="stage2", job="first") as run:
        uri = logged(tracking, run, tmp_path)
        assert status(tracking, run.id) == "RUNNING", "logging a model must not close the run"
        tags = {"data_digest": "d1", "git_commit": None, "figures": {"mean/mrr": 0.5}}
        arguments = {"run_id": run.id, "job": "first", "tags": tags}
        made = registry.register(tracking.client, uri, "embedder", **arguments)
        again = registry.register(tracking.client, uri, "embedder", **arguments)
    assert made.version == again.version, "a job registers once"
    assert made.source == uri
    assert made.run_id == run.id
    assert made.tags == {
        "cft.job": "first",
        "data_digest": "d1",
        "figures": '{"mean/mrr": 0.5}',
    }
    assert made.aliases == ["candidate"]
    files = {path.name for path in Path(download(tracking.client, uri)).rglob("*")}
    assert {"MLmodel", "pyfunc_model.py", "adapter_config.json", "encoder.py"} <= files
    assert not {name for name in files if name.endswith((".pkl", ".pyc"))}
    with tracking.run("stage2", role="stage2", job="second") as run:
        (tmp_path / "two").mkdir()
        uri = logged(tracking, run, tmp_path / "two")
        newer = registry.register(
            tracking.client, uri, "embedder", run_id=run.id, job="second", tags={}
        )
    assert int(newer.version) == int(made.version) + 1
    candidate = registry.version_of(tracking.client, "embedder", registry.CANDIDATE)
    assert candidate.version == newer.version
    # The first job runs again: its version is the same, and older than the candidate.
    assert registry.register(tracking.client, made.source, "embedder", **arguments).aliases == []
    candidate = registry.version_of(tracking.client, "embedder", registry.CANDIDATE)
    assert candidate.version == newer.version


def download(client: MlflowClient, uri: str) -> str:
    model = client.get_logged_model(uri.rpartition("/")[2])
    return model.artifact_location.removeprefix("file://")


def test_a_missing_model_and_a_missing_alias_are_both_none(tracking) -> None:
    tracking.client.create_registered_model("bare")
    assert registry.version_of(tracking.client, "bare", "champion") is None
    assert registry.version_of(tracking.client, "nobody", "champion") is None
    with pytest.raises(MlflowException):
        registry.version_of(tracking.client, "", "champion")
