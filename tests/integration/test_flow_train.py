"""The train flow: one stage by itself, and a second stage from the adapter of a first."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from cft.errors import CftError
from cft.home import Home
from cft.recipe import Recipe
from flows.forms import TrainSettings
from flows.train import START, train

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def recipe(tiny: Recipe) -> Recipe:
    tracking = tiny.tracking.model_copy(update={"model_name": "never-registered"})
    return tiny.model_copy(update={"name": "alone", "tracking": tracking})


@pytest.fixture(scope="module")
def made(home: Home, first_run: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Stage 2 from the stage-1 adapter of the two-stage flow."""
    begin = first_run["adapters"]["stage1"]
    return train(TrainSettings(recipe=recipe, stage="stage2", init_adapter=begin))


def test_a_stage_is_trained_evaluated_and_kept_but_not_registered(made, home, recipe) -> None:
    assert list(made["evaluations"]) == ["base", START, "stage2"]
    assert json.loads((Path(made["run_directory"]) / "result.json").read_text()) == made
    client = MlflowClient(tracking_uri=home.tracking_uri, registry_uri=home.tracking_uri)
    run = client.get_run(made["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["stage"] == "stage2"
    assert run.data.params["stage2.max_steps"] == str(recipe.stage2.max_steps)
    assert {"base/mean/mrr", "start/mean/mrr", "stage2/mean/mrr"} <= set(run.data.metrics)
    with pytest.raises(MlflowException, match="never-registered"):
        client.get_registered_model("never-registered")


def test_it_ends_with_the_adapter_that_the_two_stage_flow_made(made, first_run) -> None:
    weights = "adapter_model.safetensors"
    alone = (Path(made["adapter"]) / weights).read_bytes()
    assert alone == (Path(first_run["adapters"]["stage2"]) / weights).read_bytes()


def test_a_folder_without_an_adapter_is_told_before_any_work(home, recipe, tmp_path: Path) -> None:
    with pytest.raises(CftError, match=r"init_adapter: .* holds no adapter; name a folder such as"):
        train(TrainSettings(recipe=recipe, init_adapter=str(tmp_path)))
