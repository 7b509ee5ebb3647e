"""A run on leaking data from a hub: it runs when that is allowed, and nothing hides the leak."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from rich.console import Console

from cft.corpora import synthetic
from cft.home import Home
from cft.recipe import Recipe, validated
from flows.summary import show
from flows.two_stage import two_stage
from tasks.data import require_sources
from tests.hub import Repository, serve
from tests.integration.conftest import TINY

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

NLI = "princeton-nlp/datasets-for-simcse"


def epic_files() -> dict[str, bytes]:
    files = {}
    for split, pairs in synthetic.epic().splits.items():
        for side, name in (("sn", "sanskrit"), ("en", "english")):
            lines = [getattr(one, name) for one in pairs]
            files[f"data/{split}.{side}"] = "".join(f"{one}\n" for one in lines).encode()
    return files


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    data = {"itihasa": "hub", "nli": "hub", "all_verses": True, "allow_leak": True}
    return validated(TINY | {"name": "leaky", "data": TINY["data"] | data}, "the tests")


@pytest.fixture(scope="module")
def result(home: Home, recipe: Recipe) -> dict[str, Any]:
    rows = [f"A man sits {n}.,Someone sits {n}.,Nobody sits {n}.\n" for n in range(200)]
    table = ("sent0,sent1,hard_neg\n" + "".join(rows)).encode()
    with serve() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.url)
        hub.repositories["rahular/itihasa"] = Repository(epic_files())
        hub.repositories[NLI] = Repository({"nli_for_simcse.csv": table})
        result = two_stage(recipe)
    assert (home.sources / "nli_for_simcse.csv").read_bytes() == table
    return result


def test_the_leak_is_in_every_place_that_shows_a_figure(result, recipe, home: Home) -> None:
    client = MlflowClient(home.tracking_uri, home.tracking_uri)
    version = client.get_model_version(result["model"], result["version"])
    runs = [result["mlflow_run_id"], *result["stage_run_ids"].values()]
    for tags in (version.tags, *(client.get_run(one).data.tags for one in runs)):
        assert tags["contaminated"] == "true"
        assert int(tags["contaminated_rows"]) > 50
    assert "CONTAMINATED" in version.description
    report = Path(result["report"]).read_text(encoding="utf-8")
    assert "> **Note.** CONTAMINATED: " in report
    console = Console(width=120, record=True)
    show(recipe, result, console)
    shown = console.export_text()
    assert "Recipe leaky, CONTAMINATED texts" in shown
    assert "training rows hold texts of the evaluation" in shown


def test_the_sources_were_fetched_in_a_step_and_need_no_hub_again(result, recipe) -> None:
    steps = {step["name"]: step["reused"] for step in result["steps"]}
    assert steps["fetch sources"] is False
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        require_sources(recipe.data)


def test_a_clean_run_says_so(first_run, home: Home) -> None:
    client = MlflowClient(home.tracking_uri, home.tracking_uri)
    version = client.get_model_version(first_run["model"], first_run["version"])
    assert version.tags["contaminated"] == "false"
    assert "CONTAMINATED" not in version.description
    assert first_run["contamination"] is None
    assert "CONTAMINATED" not in Path(first_run["report"]).read_text(encoding="utf-8")
