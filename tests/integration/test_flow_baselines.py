"""The baselines flow from end to end: models side by side, and a reason for who is missing."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from cft.errors import CftError
from cft.evaluation.result import load_result
from cft.home import Home
from cft.recipe import EvalRecipe
from flows.baselines import baselines, run_and_show
from flows.forms import BaselinesSettings

pytestmark = pytest.mark.integration
QUICK = EvalRecipe(bootstrap_samples=100)


@pytest.fixture(scope="module")
def listed(first_run: dict[str, Any], tmp_path_factory) -> str:
    """A list with a model that loads, under prompts of its own, and one that is damaged."""
    folder = tmp_path_factory.mktemp("models")
    damaged = folder / "damaged"
    damaged.mkdir()
    for file in Path(first_run["backbone"]).iterdir():
        content = file.read_bytes()
        whole = file.suffix != ".safetensors"
        (damaged / file.name).write_bytes(content if whole else content[: len(content) // 2])
    models = {
        "prompted": {
            "title": "Prompted",
            "model": first_run["backbone"],
            "query_prompt": "query: ",
            "document_prompt": "passage: ",
        },
        "damaged": {"title": "Damaged", "model": str(damaged)},
    }
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump(models), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def settings(first_run: dict[str, Any], listed: str) -> BaselinesSettings:
    return BaselinesSettings(
        models=["base", "ours", "prompted", "damaged"],
        model_path=first_run["backbone"],
        adapter_path=first_run["adapters"]["stage2"],
        listed=listed,
        device="cpu",
        evaluation=QUICK,
    )


@pytest.fixture(scope="module")
def made(home: Home, settings: BaselinesSettings) -> dict[str, Any]:
    return baselines(settings)


def test_every_model_that_loads_has_a_result_and_its_run(made, home) -> None:
    base, *_ = made["evaluations"]
    assert list(made["evaluations"]) == [base, "ours", "Prompted"]
    results = {name: load_result(Path(one)) for name, one in made["evaluations"].items()}
    revisions = {one.revision for one in results.values()}
    assert len(revisions) == 3, "prompts and adapters are part of what a model is"
    client = MlflowClient(tracking_uri=home.tracking_uri)
    parent = client.get_run(made["mlflow_run_id"])
    assert parent.info.status == "FINISHED"
    for name, run_id in made["model_run_ids"].items():
        run = client.get_run(run_id)
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        for metric, value in results[name].evaluation.metrics().items():
            assert run.data.metrics[f"trika/{metric}"] == pytest.approx(value)
    prompted = client.get_run(made["model_run_ids"]["Prompted"]).data.params
    assert (prompted["query_prompt"], prompted["document_prompt"]) == ("query: ", "passage: ")


def test_a_model_that_cannot_be_loaded_is_a_line_that_says_why(made, home) -> None:
    assert list(made["absent"]) == ["Damaged"]
    page = Path(made["page"]).read_text(encoding="utf-8")
    markdown = (Path(made["page"]).parent / "report.md").read_text(encoding="utf-8")
    for text in (page, markdown):
        assert "Damaged was not evaluated: " in text
    assert "the weights cannot be loaded" in made["absent"]["Damaged"]
    tags = MlflowClient(tracking_uri=home.tracking_uri).get_run(made["mlflow_run_id"]).data.tags
    assert tags["absent.Damaged"] == made["absent"]["Damaged"]


def test_the_others_are_compared_with_the_first(made) -> None:
    page = Path(made["page"]).read_text(encoding="utf-8")
    first, *others = made["evaluations"]
    for name in others:
        assert f"{name} − {first}" in page
    assert json.loads((Path(made["run_directory"]) / "result.json").read_text()) == made


def test_the_markdown_is_an_artifact_of_the_flow_run(made) -> None:
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[made["flow_run_id"]]))
    with get_client(sync_client=True) as client:
        (artifact,) = client.read_artifacts(artifact_filter=chosen)
    assert artifact.key == "suite-trika"
    for name in made["evaluations"]:
        assert name in artifact.data


def test_it_is_answered_again_from_what_is_there(made, settings, capsys, monkeypatch) -> None:
    monkeypatch.setattr("flows.baselines.use_terminal", lambda: None)
    monkeypatch.setattr("flows.baselines.end_on_signals", lambda: None)
    again = run_and_show(settings)
    assert again["evaluations"] == made["evaluations"]
    printed = capsys.readouterr().out
    assert "Damaged was not evaluated" in printed
    assert again["page"] in printed


def test_without_any_model_there_is_an_error(home, listed) -> None:
    with pytest.raises(CftError, match=r"no model could be run \(ours: no adapter was named"):
        baselines(BaselinesSettings(models=["ours"], device="cpu"))
    with pytest.raises(CftError, match="--models: labs is none of"):
        baselines(BaselinesSettings(models=["labs"], device="cpu"))
