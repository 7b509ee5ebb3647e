"""The run directory: whole lines, whole status, nothing lost to a killed writer."""

import json
import threading

import pytest

from cft.errors import CftError
from cft.recipe import Recipe
from cft.tracking.run_directory import RunDirectory
from cft.training.spec import TrainSpec


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "run")


def test_events_have_their_shape_and_are_read_by_offset(run):
    assert run.read_events() == ([], 0)
    run.append_event("metric", 10, **{"train/loss": 1.25})
    events, offset = run.read_events()
    assert events[0]["kind"] == "metric"
    assert events[0]["step"] == 10
    assert events[0]["values"] == {"train/loss": 1.25}
    assert events[0]["t"] > 1.6e9
    assert run.read_events(offset) == ([], offset)
    run.append_event("note", None, text="धर्म")
    run.append_event("param", 0, r=8)
    later, end = run.read_events(offset)
    assert [event["kind"] for event in later] == ["note", "param"]
    assert later[0]["text"] == "धर्म"
    assert later[1]["values"] == {"r": 8}
    assert end == run.events.stat().st_size


def test_numbers_that_json_lacks_are_strings(run):
    run.append_event("metric", 1, loss=float("nan"), many=[float("inf"), 1.0])
    (event,), _ = run.read_events()
    assert event["values"] == {"loss": "nan", "many": ["inf", 1.0]}
    json.loads(run.events.read_text(), parse_constant=lambda name: pytest.fail(name))


def test_unfinished_line_waits_and_a_torn_line_is_skipped(run):
    run.append_event("metric", 1, loss=1.0)
    with run.events.open("a") as file:
        file.write('{"t": 1, "st')  # killed here
    events, offset = run.read_events()
    assert len(events) == 1
    assert offset < run.events.stat().st_size
    run.append_event("metric", 2, loss=0.5)
    later, _ = run.read_events(offset)
    assert [event["step"] for event in later] == [2]


def test_writers_at_once_lose_no_line(run):
    def write(name):
        for step in range(50):
            run.append_event("metric", step, name=name)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(run.read_events()[0]) == 200


def test_status_life(run):
    assert run.read_status() == {}
    run.write_status("running", world_size=2)
    started = run.read_status()
    assert started["state"] == "running"
    assert started["pid"] > 0
    run.write_status("failed", exit_code=1, error="text")
    ended = run.read_status()
    assert ended["started"] == started["started"]
    assert ended["world_size"] == 2
    assert ended["ended"] >= ended["started"]
    assert (ended["state"], ended["exit_code"]) == ("failed", 1)
    run.write_status("running")
    assert "error" not in run.read_status()


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_damaged_status_is_one_line(run, content):
    run.path.mkdir()
    run.status.write_bytes(content.encode("latin-1"))
    with pytest.raises(CftError, match="remove the file"):
        run.read_status()


def test_logs_are_new_each_time_and_the_tail_is_the_newest_ones(run):
    assert run.last_log_lines(5) == []
    first, second = run.new_log(), run.new_log()
    assert first != second
    assert first.name.startswith("train-")
    assert len(first.stem) == len("train-YYYYMMDDHHMMSS")
    first.write_text("old\n")
    second.write_text("one\n\n 0%|   | 0/2\r 50%|# | 1/2\r100%|##| 2/2\nlast\n")
    assert run.last_log_lines(2) == ["100%|##| 2/2", "last"]
    second.write_text("x" * 200_000 + "\nend\n")
    assert run.last_log_lines(1) == ["end"]


def test_spec_survives_its_file(run):
    spec = TrainSpec(
        recipe=Recipe(), stage="stage2", store="s", backbone="b", world_size=2, code={"commit": "x"}
    )
    spec.save(run.spec)
    assert TrainSpec.load(run.spec) == spec
    assert spec.train == spec.recipe.stage2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "not valid JSON"),
        ('{"stage": "stage3"}', "stage: Input should be 'stage1' or 'stage2'"),
        ('{"surprise": 1}', "surprise: Extra inputs are not permitted"),
    ],
)
def test_damaged_spec_is_one_line(run, content, message):
    run.path.mkdir()
    if content is not None:
        run.spec.write_text(content)
    with pytest.raises(CftError, match=message) as caught:
        TrainSpec.load(run.spec)
    assert "\n" not in str(caught.value)
