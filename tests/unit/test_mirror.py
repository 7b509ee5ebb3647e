"""Events become metrics once, whenever MLflow is there to take them."""

import math
import time
from pathlib import Path

import pytest

from cft.home import Home
from cft.tracking.mirror import EventMirror, legal, metrics_of, params_of
from cft.tracking.run_directory import RunDirectory
from cft.tracking.runs import Tracking


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Tracking.open(Home(tmp_path_factory.mktemp("home")), "mirror")


@pytest.fixture
def run_id(tracking: Tracking) -> str:
    return tracking.client.create_run(tracking.experiment_id).info.run_id


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def steps(run: RunDirectory, first: int, last: int) -> None:
    for step in range(first, last):
        run.append_event("metric", step, **{"train/loss": 1 / (1 + step), "train/lr": 1e-3})


def history(tracking: Tracking, run_id: str, name: str = "train/loss") -> list[tuple[int, float]]:
    points = tracking.client.get_metric_history(run_id, name)
    return sorted((point.step, point.value) for point in points)


def test_every_event_becomes_its_metrics(tracking, run_id, run) -> None:
    before = time.time()
    steps(run, 0, 5)
    run.append_event("note", text="not a metric")
    run.append_event("param", rank_count=2)
    mirror = EventMirror(tracking.client, run_id, run)
    assert mirror.sync() == 7
    assert history(tracking, run_id) == [(step, 1 / (1 + step)) for step in range(5)]
    stamp = tracking.client.get_metric_history(run_id, "train/loss")[0].timestamp / 1000
    assert before - 0.01 <= stamp <= time.time()
    assert tracking.client.get_run(run_id).data.params == {"rank_count": "2"}
    assert mirror.sync() == 0
    steps(run, 5, 7)
    assert mirror.sync() == 2
    assert len(history(tracking, run_id)) == 7


def test_replaying_changes_nothing(tracking, run_id, run) -> None:
    """The process died between the call and the note of its offset: it will call again."""
    steps(run, 0, 30)
    assert EventMirror(tracking.client, run_id, run).sync() == 30
    once = history(tracking, run_id)
    (run.path / "mirror.json").unlink()
    steps(run, 30, 32)
    assert EventMirror(tracking.client, run_id, run).sync() == 32
    assert history(tracking, run_id) == once + [(step, 1 / (1 + step)) for step in (30, 31)]


def test_another_process_continues_at_the_offset(tracking, run_id, run) -> None:
    steps(run, 0, 3)
    first = EventMirror(tracking.client, run_id, run)
    first.sync()
    again = EventMirror(tracking.client, run_id, run)
    assert again.offset == first.offset == run.events.stat().st_size
    other = tracking.client.create_run(tracking.experiment_id).info.run_id
    assert EventMirror(tracking.client, other, run).sync() == 3, "another run starts at the start"


def test_more_than_one_batch_and_a_line_in_the_making(tracking, run_id, run) -> None:
    steps(run, 0, 1100)
    with run.events.open("ab") as file:
        file.write(b'{"t": 1.0, "step": 5000, "kind": "metric", "val')
    mirror = EventMirror(tracking.client, run_id, run)
    assert mirror.sync() == 1100
    assert len(history(tracking, run_id)) == 1100
    with run.events.open("ab") as file:
        file.write(b'ues": {"train/loss": 9.0}}\n')
    assert mirror.sync() == 1
    assert history(tracking, run_id)[-1] == (5000, 9.0)


def test_nan_and_odd_names_do_not_stop_the_rest(tracking, run_id, run) -> None:
    run.append_event("metric", 1, **{"train/loss": float("nan"), "recall@1": 0.5, "word": "no"})
    EventMirror(tracking.client, run_id, run).sync()
    metrics = tracking.client.get_run(run_id).data.metrics
    assert math.isnan(metrics["train/loss"])
    assert metrics["recall_1"] == 0.5
    assert "word" not in metrics


def test_a_param_that_changed_is_noted(tracking, run_id, run) -> None:
    run.append_event("param", ranks=2)
    mirror = EventMirror(tracking.client, run_id, run)
    mirror.sync()
    run.append_event("param", ranks=4)
    mirror.sync()
    data = tracking.client.get_run(run_id).data
    assert (data.params["ranks"], data.tags["param_drift.ranks"]) == ("2", "4")


def test_pure_parts() -> None:
    assert metrics_of({"kind": "note", "text": "x"}) == []
    assert params_of({"kind": "metric", "values": {"a": 1}}) == []
    (metric,) = metrics_of({"kind": "metric", "t": 12.5, "step": None, "values": {"a": "inf"}})
    assert (metric.key, metric.value, metric.timestamp, metric.step) == ("a", math.inf, 12500, 0)
    assert legal("sa_en/recall@1 (é)") == "sa_en/recall_1 ___"
    assert len(legal("x" * 300)) == 250
