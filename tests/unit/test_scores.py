"""Scores in MLflow: stable names, the version that earned them, and what is no version."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.entities.model_registry import ModelVersion

from cft.errors import CftError
from cft.home import Home
from cft.tracking.registry import register
from cft.tracking.runs import Tracking
from cft.tracking.scores import log_scores, logged_model, registered_version
from cft.tracking.server_run import ServerRun

NAME = "scored"


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Tracking.open(Home(tmp_path_factory.mktemp("home")), "scores")


@pytest.fixture(scope="module")
def run(tracking: Tracking) -> ServerRun:
    return server_run(tracking, "scores")


def server_run(tracking: Tracking, job: str) -> ServerRun:
    """A run that is over, as the server has it."""
    with tracking.run(job, role="evaluate", job=job) as run:
        pass
    return ServerRun(run.uri, run.id, run.experiment_id)


@pytest.fixture(scope="module")
def version(tracking: Tracking, run: ServerRun) -> Iterator[ModelVersion]:
    """A real version with a logged model behind it, as training registers one."""
    # The store asks MLflow's global client for the model behind a version.
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking.uri)
    logged = tracking.client.create_logged_model(tracking.experiment_id, source_run_id=run.id)
    source = f"models:/{logged.model_id}"
    tracking.client.finalize_logged_model(logged.model_id, "READY")
    yield register(tracking.client, source, NAME, run_id=run.id, job="scores", tags={})
    mlflow.set_tracking_uri(before)


def test_a_reference_means_a_version_or_none(tracking, version):
    for reference in (f"models:/{NAME}@candidate", f"models:/{NAME}/{version.version}"):
        assert registered_version(tracking.client, reference).version == version.version
    for reference in ("pretrained/sarvam-1", "models:/m-0123", "sentence-transformers/LaBSE"):
        assert registered_version(tracking.client, reference) is None


@pytest.mark.parametrize("which", ["@champion", "/99"])
def test_a_version_that_is_not_there_is_told(tracking, version, which):
    with pytest.raises(CftError, match=rf"models:/{NAME}{which}: not in the registry .*; give a"):
        registered_version(tracking.client, f"models:/{NAME}{which}")


def test_scores_stand_on_the_run_the_model_and_the_version(tracking, run, version):
    metrics = {"sa_en/mrr": 0.5, "sa_en/mrr_low": 0.4, "sa_en/mrr_high": 0.6}
    log_scores(run, "trika", metrics, version=version, headline={"sa_en/mrr": 0.5})
    kept = tracking.client.get_run(run.id)
    assert {name: kept.data.metrics[f"trika/{name}"] for name in metrics} == metrics
    assert kept.data.tags["cft.model_version"] == f"{NAME}/{version.version}"
    assert [one.model_id for one in kept.inputs.model_inputs] == [logged_model(version)]
    model = tracking.client.get_logged_model(logged_model(version))
    found = {one.key: (one.value, one.run_id) for one in model.metrics}
    assert found["trika/sa_en/mrr"] == (0.5, run.id)
    tags = tracking.client.get_model_version(NAME, version.version).tags
    assert tags["score.trika/sa_en/mrr"] == "0.5"
    assert tags["evaluation_run.trika"] == run.id
    assert tags["contaminated.trika"] == "false"


def test_what_a_version_has_seen_of_a_fixed_suite_is_not_taken_back(tracking, run, version):
    for suite, then in (("trika", "true"), ("sanskrit-sts", "false")):
        for contaminated in (True, False):
            log_scores(run, suite, {"mrr": 0.5}, version=version, contaminated=contaminated)
        tags = tracking.client.get_model_version(NAME, version.version).tags
        assert tags[f"contaminated.{suite}"] == then


def test_scoring_again_is_harmless(tracking, run, version):
    for _ in range(2):
        log_scores(run, "again", {"mrr": 0.5}, version=version, contaminated=True)
    kept = tracking.client.get_run(run.id)
    assert kept.data.metrics["again/mrr"] == 0.5
    assert kept.data.tags["contaminated.again"] == "true"
    assert [one.model_id for one in kept.inputs.model_inputs] == [logged_model(version)]


def test_a_model_that_is_not_registered_has_scores_all_the_same(tracking):
    run = server_run(tracking, "bare")
    log_scores(run, "trika", {"sa_en/mrr": 0.25})
    kept = tracking.client.get_run(run.id)
    assert kept.data.metrics == {"trika/sa_en/mrr": 0.25}
    assert "cft.model_version" not in kept.data.tags
    assert not kept.inputs.model_inputs


def test_a_folder_keeps_its_tree(tracking, run, tmp_path: Path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "report.html").write_text("<p>चैतन्यमात्मा", encoding="utf-8")
    (tmp_path / "plots" / "map.png").write_bytes(b"\x89PNG")
    run.files(tmp_path, "trika")
    client = tracking.client
    assert {one.path for one in client.list_artifacts(run.id, "trika")} == {
        *("trika/report.html", "trika/plots")
    }
    page = client.download_artifacts(run.id, "trika/report.html", str(tmp_path))
    assert "चैतन्यमात्मा" in Path(page).read_text(encoding="utf-8")
