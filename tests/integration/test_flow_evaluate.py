"""The evaluate flow from end to end: any model, pages, scores on the registered version."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from pydantic import ValidationError

from cft.corpora.trika import load_trika
from cft.errors import CftError
from cft.evaluation.result import load_result
from cft.home import Home
from cft.recipe import EvalRecipe
from flows.evaluate import evaluate, run_and_show, title_of
from flows.forms import EvaluateSettings

pytestmark = pytest.mark.integration
QUICK = EvalRecipe(bootstrap_samples=100)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> str:
    """Labelled pairs of Trika verses: a verse with its English, and with another's."""
    verses = load_trika().to_evalset().pairs[:12]
    rows = [{"text_a": one.sanskrit, "text_b": one.english, "label": 1} for one in verses]
    rows += [
        {"text_a": one.sanskrit, "text_b": other.english, "label": 0}
        for one, other in pairwise(verses)
    ]
    path = tmp_path_factory.mktemp("pairs") / "pairs.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def made(home: Home, first_run: dict[str, Any], pairs: str) -> dict[str, Any]:
    # An alias of its own: other trainings of these tests may move `candidate`.
    client = MlflowClient(tracking_uri=home.tracking_uri, registry_uri=home.tracking_uri)
    client.set_registered_model_alias(first_run["model"], "asked", first_run["version"])
    settings = EvaluateSettings(
        model=f"models:/{first_run['model']}@asked",
        suites=["trika", "sanskrit-sts"],
        base=first_run["backbone"],
        pairs=pairs,
        benchmarks=["TrikaSTS", "STSBenchmark"],
        benchmark_data=str(Path(pairs).parent),
        device="cpu",
        evaluation=QUICK,
    )
    return evaluate(settings)


def test_every_suite_has_results_and_a_page(made, first_run) -> None:
    # The columns are of the version that the alias meant when the run began.
    assert set(made["evaluations"]) == set(made["pages"]) == {"trika", "sanskrit-sts"}
    title = f"{first_run['model']}/{first_run['version']}"
    for suite, folders in made["evaluations"].items():
        assert list(folders) == ["base", title]
        results = {name: load_result(Path(folder)) for name, folder in folders.items()}
        assert all(one.suite == suite and one.revision for one in results.values())
        assert results["base"].revision != results[title].revision
        page = Path(made["pages"][suite]).read_text(encoding="utf-8")
        for one in results.values():
            for figure in one.figures.values():
                assert f"{figure.value:z.3f}" in page
    trika = load_result(Path(made["evaluations"]["trika"][title]))
    assert trika.figures["drift/cosine"].value > 0
    assert json.loads((Path(made["run_directory"]) / "result.json").read_text()) == made


def test_the_scores_are_in_mlflow_on_the_run_and_on_the_version(made, home, first_run) -> None:
    client = MlflowClient(tracking_uri=home.tracking_uri, registry_uri=home.tracking_uri)
    run = client.get_run(made["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    title = f"{first_run['model']}/{first_run['version']}"
    for suite, folders in made["evaluations"].items():
        result = load_result(Path(folders[title]))
        for name, value in result.evaluation.metrics().items():
            assert run.data.metrics[f"{suite}/{name}"] == pytest.approx(value)
    assert run.data.tags["cft.model_version"] == title
    version = client.get_model_version(first_run["model"], first_run["version"])
    assert version.tags["evaluation_run.trika"] == run.info.run_id
    assert float(version.tags["score.trika/mean/mrr"]) == pytest.approx(
        run.data.metrics["trika/mean/mrr"], rel=1e-4
    )
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    assert "trika/mean/mrr" in {one.key for one in model.metrics}
    stored = {one.path for one in client.list_artifacts(run.info.run_id, "trika/report")}
    assert {"trika/report/report.html", "trika/report/report.md", "trika/report/plots"} <= stored


def test_the_markdown_is_an_artifact_of_the_flow_run(made) -> None:
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[made["flow_run_id"]]))
    with get_client(sync_client=True) as client:
        found = {one.key: one.data for one in client.read_artifacts(artifact_filter=chosen)}
    assert set(found) == {"suite-trika", "suite-sanskrit-sts", "benchmarks"}
    for suite, page in made["pages"].items():
        markdown = (Path(page).parent / "report.md").read_text(encoding="utf-8")
        assert found[f"suite-{suite}"] == markdown
        assert page in markdown


def test_benchmarks_are_scored_and_those_without_data_say_so(made, home) -> None:
    rows = json.loads(Path(made["benchmarks"]).read_text(encoding="utf-8"))["result"]["rows"]
    states = {row["task"]: row["state"] for row in rows}
    assert states == {"TrikaSTS": "run", "STSBenchmark": "not run"}
    client = MlflowClient(tracking_uri=home.tracking_uri)
    run = client.get_run(made["mlflow_run_id"])
    scores = rows[0]["scores"]
    assert run.data.metrics["mteb/TrikaSTS/cosine_spearman"] == scores["cosine_spearman"]
    assert not [name for name in run.data.metrics if name.startswith("mteb/STSBenchmark")]
    kept = [one.path for one in client.list_artifacts(made["mlflow_run_id"], "mteb/results")]
    assert kept == ["mteb/results/TrikaSTS.json"]


def test_the_same_question_is_answered_from_what_is_there(made, first_run, capsys, monkeypatch):
    monkeypatch.setattr("flows.evaluate.use_terminal", lambda: None)
    monkeypatch.setattr("flows.evaluate.end_on_signals", lambda: None)
    before = Path(made["evaluations"]["trika"]["base"]).stat().st_mtime_ns
    model = f"models:/{first_run['model']}/{first_run['version']}"
    again = run_and_show(
        EvaluateSettings(model=model, base=first_run["backbone"], device="cpu", evaluation=QUICK)
    )
    assert again["evaluations"]["trika"] == made["evaluations"]["trika"]
    assert Path(again["evaluations"]["trika"]["base"]).stat().st_mtime_ns == before
    printed = capsys.readouterr().out
    assert again["pages"]["trika"] in printed
    assert "Cross-lingual MRR" in printed


def test_a_run_that_was_trained_on_the_texts_is_marked(home, first_run, tmp_path: Path) -> None:
    """Pairs of texts that the tiny run was trained on: its own data tell."""
    import numpy as np

    from cft.triplets.prepare import training_texts

    texts = [one for one in training_texts(Path(first_run["corpus"])) if len(one) > 20]
    chosen = np.random.default_rng(0).choice(len(texts), 8, replace=False)
    rows = [
        {"text_a": texts[row], "text_b": texts[row - 1], "label": place % 2}
        for place, row in enumerate(chosen.tolist())
    ]
    path = tmp_path / "seen.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    adapter = first_run["adapters"]["stage2"]
    settings = EvaluateSettings(
        model=adapter, suites=["sanskrit-sts"], pairs=str(path), device="cpu", evaluation=QUICK
    )
    result = evaluate(settings)
    (folder,) = result["evaluations"]["sanskrit-sts"].values()
    assert load_result(Path(folder)).contaminated
    page = Path(result["pages"]["sanskrit-sts"]).read_text(encoding="utf-8")
    assert "was trained on texts of this suite" in page


def test_what_cannot_be_asked_is_told_before_a_model_is_loaded(home) -> None:
    with pytest.raises(ValidationError, match="'trika' or 'sanskrit-sts'"):
        EvaluateSettings(model="/nowhere", suites=["sts"])
    with pytest.raises(CftError, match="suite sanskrit-sts: no labelled pairs; name the file"):
        evaluate(EvaluateSettings(model="/nowhere", suites=["sanskrit-sts"]))
    with pytest.raises(CftError, match=r"/nowhere: no such folder"):
        evaluate(EvaluateSettings(model="/nowhere"))


@pytest.mark.parametrize(
    ("model", "adapter", "title"),
    [
        ("models:/cft-embedder@champion", None, "cft-embedder@champion"),
        ("sentence-transformers/LaBSE", None, "LaBSE"),
        ("/runs/7/stage2/adapter", None, "stage2/adapter"),
        ("/models/base", None, "models/base"),
        ("/models/sarvam-1", "/runs/7/stage1/adapter", "stage1/adapter"),
    ],
)
def test_titles_are_short(model, adapter, title) -> None:
    assert title_of(model, adapter) == title
