"""The two-stage flow from end to end, with real processes, a real server and a real store."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.sorting import LogSort

from cft.evaluation.result import load_result
from cft.home import Home
from cft.model.encoder import Encoder
from cft.recipe import Recipe
from cft.tracking import registry
from cft.tracking.run_directory import RunDirectory
from flows.summary import lines_of
from flows.two_stage import two_stage
from tasks.data import store_folder, text_contract, tokenise
from tasks.machine import process_table, supervisor
from tasks.steps import Steps

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

MODELS = ("base", "stage1", "stage2")


@pytest.fixture
def prefect_client(home: Home):
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def client(home: Home) -> MlflowClient:
    return MlflowClient(home.tracking_uri, home.tracking_uri)


def artifacts_of(client: SyncPrefectClient, flow_run_id: str) -> dict[str, Any]:
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    )
    return {one.key: one for one in found}


def states_of(client: SyncPrefectClient, flow_run_id: str) -> dict[str, str]:
    runs = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    )
    return {run.name: run.state.name for run in runs}


def logs_of(client: SyncPrefectClient, flow_run_id: str) -> list[str]:
    found = client.read_logs(
        LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id])), sort=LogSort.TIMESTAMP_ASC
    )
    return [one.message for one in found]


def artifact_folder(client: MlflowClient, run_id: str) -> Path:
    return Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"))


def test_the_flow_run_in_prefect(first_run, prefect_client) -> None:
    run = prefect_client.read_flow_run(first_run["flow_run_id"])
    assert run.state.name == "Completed"
    assert run.name == "tiny"
    assert run.parameters["recipe"]["stage1"]["max_steps"] == 6
    states = states_of(prefect_client, first_run["flow_run_id"])
    # Another file's tests may have made corpus and backbone in this state folder.
    assert set(states.values()) <= {"Completed", "Cached"}
    assert states["train stage1"] == states["train stage2"] == "Completed"
    assert {"corpus", "backbone", "tokenise stage1", "train stage1", "evaluate base"} <= set(states)


def test_the_artifacts_in_prefect(first_run, prefect_client) -> None:
    artifacts = artifacts_of(prefect_client, first_run["flow_run_id"])
    assert {"two-stage-results", "stage1-progress", "stage2-progress"} <= set(artifacts)
    table = artifacts["two-stage-results"].data
    assert "MRR" in table
    for model in MODELS:
        assert model in table.lower().replace(" ", "")
    assert table == Path(first_run["report"]).read_text(encoding="utf-8")
    assert artifacts["stage1-progress"].data == 100


def test_the_training_log_reaches_prefect(first_run, prefect_client) -> None:
    lines = [line for text in logs_of(prefect_client, first_run["flow_run_id"])
             for line in text.splitlines()]  # fmt: skip
    assert any("global batch 8 triplets" in line for line in lines)
    assert any(re.search(r"trained 6 steps", line) for line in lines)
    assert not any("%|" in line for line in lines), "redraws of progress bars are noise"


def test_the_parent_run_in_mlflow(first_run, client, tiny: Recipe) -> None:
    run = client.get_run(first_run["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "tiny"
    params = run.data.params
    assert params["model.lora.r"] == "8"
    assert params["stage1.max_steps"] == "6"
    assert params["data.strategies"] == '["A", "B", "C", "D"]'
    tags = run.data.tags
    assert tags["flow_run_id"] == first_run["flow_run_id"]
    assert tags["data_digest"] == Path(first_run["corpus"]).name
    assert re.fullmatch(r"[0-9a-f]{16}", tags["recipe_digest"])
    for model in MODELS:
        figures = load_result(Path(first_run["evaluations"][model])).evaluation.figures
        assert "mean/mrr" in figures
        for name, figure in figures.items():
            assert run.data.metrics[f"{model}/{name}"] == pytest.approx(figure.value)
            assert run.data.metrics[f"{model}/{name}_low"] == pytest.approx(figure.low)
            assert run.data.metrics[f"{model}/{name}_high"] == pytest.approx(figure.high)
    contexts = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
    assert set(contexts) == {"stage1", "stage2", "evaluation"}
    assert len({one.digest for one in contexts.values()}) == 3


def test_the_files_in_mlflow(first_run, client) -> None:
    folder = artifact_folder(client, first_run["mlflow_run_id"])
    manifest = json.loads((folder / "data" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest
    for name in ("loss.png", "similarities.png", "heatmap.png"):
        assert (folder / "plots" / name).read_bytes().startswith(b"\x89PNG")
    assert (folder / "report" / "report.md").exists()
    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert page == Path(first_run["page"]).read_text(encoding="utf-8")
    for part in ("stage2 − base", "Failures", "pair 1<", "data:image/png;base64,"):
        assert part in page
    for model in MODELS:
        assert json.loads((folder / "evaluation" / f"{model}.json").read_text())["figures"]


@pytest.mark.parametrize(("stage", "steps"), [("stage1", 6), ("stage2", 4)])
def test_the_loss_curve_step_by_step(first_run, client, stage: str, steps: int) -> None:
    run_id = first_run["stage_run_ids"][stage]
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == first_run["mlflow_run_id"]
    points = client.get_metric_history(run_id, "train/loss")
    assert sorted({point.step for point in points}) == list(range(1, steps + 1))
    events, _ = RunDirectory(Path(first_run["run_directory"]) / stage).read_events(0)
    losses = {
        event["step"]: event["values"]["train/loss"]
        for event in events
        if event["kind"] == "metric" and "train/loss" in event["values"]
    }
    assert {point.step: point.value for point in points} == pytest.approx(losses)
    files = {path.name for path in (artifact_folder(client, run_id) / "run").iterdir()}
    assert "spec.json" in files
    assert any(re.fullmatch(r"train-\d{14}\.log", name) for name in files)


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_how_near_drawn_negatives_lie_stands_in_mlflow(first_run, client, stage: str) -> None:
    run_id = first_run["stage_run_ids"][stage]
    path = artifact_folder(client, run_id) / "data" / "similarity.json"
    (entry,) = json.loads(path.read_text(encoding="utf-8"))
    figures = entry["parts"][stage]
    run = client.get_run(run_id)
    parent = client.get_run(first_run["mlflow_run_id"])
    for name in ("positive", "hard_negative", "random"):
        metric = f"data/similarity_{name}"
        assert run.data.metrics[metric] == pytest.approx(figures[name]["mean"])
        assert parent.data.metrics[f"{stage}/{metric}"] == run.data.metrics[metric]
    if stage == "stage1":  # drawn uniformly: as near as the positives of other rows, no nearer
        assert set(figures["kinds"]) == {"cross_lingual", "mono_sa"}
        for one in figures["kinds"].values():
            spread = one["random"]["std"] + 1e-3
            assert abs(one["hard_negative"]["mean"] - one["random"]["mean"]) < 0.5 * spread


def test_the_registered_version_gives_the_encoders_vectors(first_run, client, tiny) -> None:
    found = registry.version_of(client, "cft-embedder", "candidate")
    assert found is not None
    version = client.get_model_version("cft-embedder", first_run["version"])
    assert version.run_id == first_run["stage_run_ids"]["stage2"]
    for tag in ("data_digest", "backbone_digest", "adapter_digest", "recipe_digest",
                "parent_adapter_digest", "parent_model", "figure.mean/mrr"):  # fmt: skip
        assert version.tags[tag], tag
    texts = ["रामः वनं गच्छति", "Rama goes to the forest.", "a"]
    encoder = Encoder.load(
        Path(first_run["backbone"]), Path(first_run["adapters"]["stage2"]), device="cpu"
    )
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    model = mlflow.pyfunc.load_model(
        f"models:/cft-embedder/{first_run['version']}", model_config={"device": "cpu"}
    )
    np.testing.assert_array_equal(model.predict(texts), encoder.encode(texts, progress=False))
    np.testing.assert_array_equal(
        model.predict(texts, params={"prompt": "query: "}),
        encoder.encode(texts, prompt="query: ", progress=False),
    )
    files = [path for path in _model_folder(client, version.source).rglob("*") if path.is_file()]
    adapter = sum(path.stat().st_size for path in Path(first_run["adapters"]["stage2"]).iterdir())
    code = sum(path.stat().st_size for path in files if "code" in path.parts)
    total = sum(path.stat().st_size for path in files)
    assert total - code - adapter < 50_000, "the backbone's weights must not be copied"


def _model_folder(client: MlflowClient, source: str) -> Path:
    model = client.get_logged_model(source.rpartition("/")[2])
    return Path(model.artifact_location.removeprefix("file://"))


def test_nothing_is_left_running_or_half_written(first_run, home: Home) -> None:
    for record in home.runs.rglob("supervisor.json"):
        assert process_table.members(supervisor.read_json(record)["token"]) == set()
    assert not list(home.path.rglob("*.partial"))
    for stage in ("stage1", "stage2"):
        run = RunDirectory(Path(first_run["run_directory"]) / stage)
        status = run.read_status()
        assert (status["state"], status["exit_code"]) == ("finished", 0)


def test_the_summary_tells_how_to_look(first_run, home: Home, monkeypatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    lines = lines_of(first_run, home)
    (up,) = [line for line in lines if line.endswith("cft up")]
    assert lines[lines.index(up) + 1].endswith(f":4200/runs/flow-run/{first_run['flow_run_id']}")
    assert lines[lines.index(up) + 2].endswith(f"/runs/{first_run['mlflow_run_id']}")
    monkeypatch.setenv("PREFECT_HOME", "/elsewhere")
    text = "\n".join(lines_of(first_run, home))
    assert "PREFECT_HOME=/elsewhere" in text
    assert f"--backend-store-uri {home.local_tracking_uri}" in text
    assert "cft up" not in text
    monkeypatch.setenv("PREFECT_API_URL", "https://flows.example/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://runs.example/")
    text = "\n".join(lines_of(first_run, home))
    assert f"https://flows.example/runs/flow-run/{first_run['flow_run_id']}" in text
    assert "https://runs.example/#/experiments/" in text


def test_a_second_run_reuses_what_did_not_change(
    first_run, home: Home, tiny: Recipe, prefect_client, client
) -> None:
    changed = tiny.model_copy(
        update={"stage2": tiny.stage2.model_copy(update={"learning_rate": 5e-4})}
    )
    second = two_stage(changed)
    made = ["corpus", "backbone", "tokenise stage1", "tokenise stage2", "similarity"]
    made += ["evaluate base"]
    assert set(made) <= set(second["reused"])
    assert "train stage1" not in second["reused"]
    assert "evaluate stage2" not in second["reused"], "another adapter is another evaluation"
    states = states_of(prefect_client, second["flow_run_id"])
    assert {states[name] for name in made} == {"Cached"}
    assert states["train stage1"] == "Completed"
    for name in ("corpus", "backbone"):
        assert second[name] == first_run[name]
    logs = logs_of(prefect_client, second["flow_run_id"])
    assert any("backbone: unchanged since an earlier run, reused" in line for line in logs)
    report = Path(second["report"]).read_text(encoding="utf-8")
    assert "corpus, backbone" in report
    assert int(second["version"]) > int(first_run["version"])
    candidate = registry.version_of(client, "cft-embedder", "candidate")
    assert str(candidate.version) == second["version"]


def test_a_cached_folder_that_was_removed_is_made_again(first_run, home: Home, tiny) -> None:
    corpus, backbone = Path(first_run["corpus"]), Path(first_run["backbone"])
    target = store_folder(home, corpus, "stage2", text_contract(tiny.model, backbone))
    assert target.is_dir()
    before = {path.name: path.read_bytes() for path in target.iterdir()}

    @flow
    def again() -> list[str]:
        steps = Steps()
        steps.reuse("store", tokenise, target, str(corpus), "stage2", str(backbone), tiny.model)
        return steps.reused

    assert again() == ["store"]
    shutil.rmtree(target)
    assert again() == []
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert again() == ["store"]
