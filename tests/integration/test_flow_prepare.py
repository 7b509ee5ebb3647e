"""The prepare flow from end to end, and that training begins where it ended."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

import deployments.cli
from cft.errors import CftError
from cft.home import Home
from cft.recipe import Recipe, validated
from cft.triplets.store import TokenStore
from flows.prepare import prepare_data, prepared, run_and_show
from tasks.data import DATA_KEY
from tasks.steps import Steps
from tests.integration.conftest import TINY

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Data that no other test has made."""
    model = TINY["model"] | {"query_prompt": "query: "}
    data = TINY["data"] | {"seed": 11}
    return validated(TINY | {"name": "prepared", "data": data, "model": model}, "the tests")


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch) -> None:
    """Signals and log handlers of the tests' own process stay as they are."""
    monkeypatch.setattr("flows.prepare.use_terminal", lambda: None)
    monkeypatch.setattr("flows.prepare.end_on_signals", lambda: None)


@pytest.fixture(scope="module")
def made(home: Home, recipe: Recipe) -> dict[str, Any]:
    return prepare_data(recipe)


def test_it_makes_what_training_reads(made, home: Home, recipe: Recipe) -> None:
    assert made["reused"] == []
    steps = ["corpus", "backbone", "tokenise stage1", "tokenise stage2"]
    assert [step["name"] for step in made["steps"]] == steps
    manifest = json.loads((Path(made["corpus"]) / "manifest.json").read_text(encoding="utf-8"))
    for stage, folder in made["stores"].items():
        store = TokenStore.open(Path(folder))
        assert store.rows == manifest[stage]["rows"]
        assert store.texts == manifest[stage]["distinct_texts"]
        assert store.has_query_tokens
        assert store.manifest["epic"] == manifest["epic"]
    assert not list(home.path.rglob("*.partial"))

    @flow
    def training() -> tuple[Any, list[str]]:
        record = Steps()
        return prepared(recipe, home, record), record.reused

    found, reused = training()
    assert reused == steps
    assert {stage: str(folder) for stage, folder in found.stores.items()} == made["stores"]


def test_the_manifest_is_an_artifact_of_the_run(made, home: Home) -> None:
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[made["flow_run_id"]]))
    with get_client(sync_client=True) as client:
        (artifact,) = client.read_artifacts(artifact_filter=chosen)
    assert artifact.key == DATA_KEY
    page = artifact.data
    assert page == made["page"]
    manifest = json.loads((Path(made["corpus"]) / "manifest.json").read_text(encoding="utf-8"))
    for stage, folder in made["stores"].items():
        for kind, rows in manifest[stage]["kinds"].items():
            assert f"| {stage} | {kind} | {rows:,} | 1 |" in page
        for role, lengths in (
            TokenStore.open(Path(folder)).manifest["store"]["token_lengths"].items()
        ):
            row = f"| {stage} | {role} | {lengths['texts']:,} | {lengths['tokens']:,} |"
            assert row in page
    assert manifest["epic"]["held_out_rule"] in page
    assert "CONTAMINATED" not in page


def test_the_verb_runs_it_again_from_what_is_there(
    made, home: Home, recipe: Recipe, tmp_path: Path, monkeypatch, capsys
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(recipe.model_dump(mode="json")), encoding="utf-8")
    seen: list[Recipe] = []
    monkeypatch.setattr("deployments.cli.run.flow", lambda name, recipe: seen.append(recipe))
    command = deployments.cli.prepare_command
    result = CliRunner().invoke(command, ["--recipe", str(file), "--n-negs", "2"])
    assert result.exit_code == 0, result.output
    assert seen[0].data == recipe.data.model_copy(update={"n_negs": 2})
    again = run_and_show(recipe)
    assert len(again["reused"]) == 4
    printed = capsys.readouterr().out
    assert made["page"] in printed
    assert all(folder in printed for folder in (made["corpus"], *made["stores"].values()))


def test_a_source_that_is_missing_is_told_before_anything_starts(recipe: Recipe) -> None:
    data = recipe.data.model_copy(update={"itihasa": "/nowhere"})
    with pytest.raises(CftError, match="/nowhere: no such folder"):
        run_and_show(recipe.model_copy(update={"data": data}))
