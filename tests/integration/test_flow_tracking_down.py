"""The main flow ends well while MLflow is down, says so, and all of it arrives afterwards."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from cft.home import Home
from cft.recipe import Recipe
from cft.tracking.catch_up import catch_up, open_jobs
from cft.tracking.journal import Journal
from cft.tracking.registry import version_of
from cft.tracking.run_directory import RunDirectory
from flows.summary import lines_of
from flows.two_stage import two_stage
from tests.integration.mlflow_server import HASTY, MlflowServer
from tests.processes import until

pytestmark = pytest.mark.integration


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    """A server that is not there yet."""
    server = MlflowServer(tmp_path)
    for name, value in HASTY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    yield server
    server.kill()


def test_the_flow_completes_and_tracking_catches_up(
    home: Home, tiny: Recipe, first_run: dict[str, Any], server: MlflowServer
) -> None:
    tracking = tiny.tracking.model_copy(update={"wait_seconds": 3})
    result = two_stage(tiny.model_copy(update={"tracking": tracking}))
    ended = time.time()
    assert result["tracking_pending"] is True
    assert result["mlflow_run_id"] is None
    assert result["version"] is None
    assert set(result["evaluations"]) == {"base", "stage1", "stage2"}
    shown = "\n".join(lines_of(result, home))
    assert "version pending" in shown
    assert "MLflow did not answer; all is kept, and is sent when it does" in shown
    job = result["flow_run_id"]
    kept = json.loads((home.runs / job / "result.json").read_text(encoding="utf-8"))
    assert kept["tracking_pending"] is True

    server.start()
    until(lambda: all(not one.kept for one in catch_up(home)), 120)
    journal = Journal.of(home, job, server.uri)
    state = journal.state()
    assert (state.refused, state.following) == ([], {})
    assert job not in open_jobs(home)
    client = MlflowClient(server.uri, server.uri)
    runs = {role: client.get_run(run) for role, (run, _) in state.runs.items()}
    assert {role: run.info.status for role, run in runs.items()} == dict.fromkeys(
        ("two-stage", "stage1", "stage2"), "FINISHED"
    )
    assert all(run.info.end_time / 1000 < ended for run in runs.values())
    for stage in ("stage1", "stage2"):
        assert runs[stage].data.tags["mlflow.parentRunId"] == runs["two-stage"].info.run_id
        events = RunDirectory(home.runs / job / stage).read_events()[0]
        for metric in ("train/loss", "system/system_memory_usage_percentage"):
            points = client.get_metric_history(runs[stage].info.run_id, metric)
            logged = [one["step"] for one in events if metric in one.get("values", {})]
            assert sorted(point.step for point in points) == logged, "each once, none lost"
            assert logged
    version = version_of(client, "cft-embedder", "candidate")
    assert version is not None
    assert version.run_id == runs["stage2"].info.run_id
    assert version.tags["parent_model"] == state.models["stage1"]
    pages = {one.path for one in client.list_artifacts(runs["two-stage"].info.run_id, "report")}
    assert pages == {"report/report.md", "report/report.html"}
