"""What a pass reads off this host, tells MLflow and shows a person."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cft.home import Home
from tasks.machine import supervisor
from tasks.machine.hire import lease_folder
from tasks.machine.watcher import LOCK, RECORD, watching
from tasks.reconcile.facts import Action, Found, Outcome, RunFacts
from tasks.reconcile.observe import watched, work
from tasks.reconcile.record import endings
from tasks.reconcile.report import Report

RUN = RunFacts("r", "pilot", "two-stage", "FAILED", "s", state_seconds=100, silent_seconds=100)


def job(home: Home, stage: str, **status: object) -> Path:
    folder = home.runs / "r" / stage
    folder.mkdir(parents=True)
    supervisor.write_json(folder / "supervisor.json", {"token": "t", "pid": 1, "start": "1"})
    supervisor.write_json(folder / "status.json", status)
    return folder


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"state": "finished", "stopped": False}, "finished"),
        ({"state": "failed", "stopped": False}, "ended"),
        ({"state": "killed", "stopped": False}, "ended"),
        ({"state": "killed", "stopped": True}, "ended"),
        ({"state": "killed", "reason": "the job and its supervisor vanished"}, "lost"),
        ({"state": "running"}, "lost"),
        ({"state": "waiting"}, "lost"),
    ],
)
def test_how_a_job_ended(tmp_path: Path, status: dict, expected: str) -> None:
    job(Home(tmp_path), "stage1", **status)
    assert work(Home(tmp_path), "r") == expected


def test_the_newest_job_counts(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert work(home, "r") == "none"
    job(home, "stage1", state="finished", started=1.0, stopped=False)
    job(home, "stage2", state="running", started=2.0)
    assert work(home, "r") == "lost"


def flow_run(state: str, since: float) -> SimpleNamespace:
    began = SimpleNamespace(timestamp=lambda: since)
    kind = SimpleNamespace(value=state)
    return SimpleNamespace(id="r", state=SimpleNamespace(timestamp=began, type=kind))


@pytest.mark.parametrize(
    ("state", "record", "expected"),
    [
        ("RUNNING", None, "unknown"),
        ("RUNNING", {"pid": 1, "since": 200.0}, "dead"),
        ("RUNNING", {"pid": 1, "since": 50.0}, "unknown"),  # of an attempt before
        ("CANCELLING", {"pid": 1, "since": 50.0}, "dead"),
        ("RUNNING", {"pid": 1, "since": 200.0, "left": 250.0}, "unknown"),  # the flow went on
    ],
)
def test_who_watches(tmp_path: Path, state: str, record: dict | None, expected: str) -> None:
    folder = job(Home(tmp_path), "stage1", state="running")
    if record is not None:
        (folder / LOCK).touch()
        supervisor.write_json(folder / RECORD, record)
    assert watched(Home(tmp_path), flow_run(state, 100.0)) == expected


def outcome(kind: str, done: bool = True, subject: str = "r") -> Outcome:
    return Outcome(Action(kind, subject, "two-stage pilot", "why | not"), done, "so")


@pytest.mark.parametrize(
    ("run", "mended", "expected"),
    [
        (RUN, [], "FAILED"),
        (replace(RUN, state="COMPLETED"), [], "FINISHED"),
        (replace(RUN, state="CANCELLED"), [], "KILLED"),
        (replace(RUN, state="CRASHED"), [], "KILLED"),
        (replace(RUN, state="RUNNING"), [], None),
        (replace(RUN, state_seconds=10), [], None),  # it may be telling its end itself
        (replace(RUN, watched="alive"), [], None),
        (replace(RUN, work="living"), [], None),
        (replace(RUN, work="living", state="CANCELLED"), [outcome("stop")], "KILLED"),
        (replace(RUN, state="RUNNING"), [outcome("crash")], "KILLED"),
        (replace(RUN, state="RUNNING"), [outcome("crash", done=False)], None),
        (replace(RUN, state="RUNNING"), [outcome("crash"), outcome("retry")], None),
        (replace(RUN, state="RUNNING", work="living"), [outcome("crash")], None),
        (replace(RUN, state="CANCELLING", work="living"), [outcome("cancel")], "KILLED"),
    ],
)
def test_what_mlflow_is_told(run: RunFacts, mended: list[Outcome], expected: str | None) -> None:
    assert endings(Found([run]), mended, grace=60).get("r") == expected


def test_a_page_for_a_person() -> None:
    assert "All is well" in Report(False, 3).markdown()
    assert Report(False, 3).lines() == ["3 flow runs: all is well"]
    report = Report(
        False, 3, [outcome("crash"), outcome("free", False, "cft-registry")], ["closed"], ["failed"]
    )
    page = report.markdown()
    assert "| two-stage pilot: mark as Crashed | why \\| not | yes | so |" in page
    assert "| no |" in page
    assert "## Tracking\n\n- closed" in page
    assert "## Not mended\n\n- failed" in page
    assert "dry run" in Report(True, 3, [outcome("crash", False)]).markdown()
    assert report.to_json()["actions"][0]["kind"] == "crash"


def test_a_watcher_that_is_alive_wins(tmp_path: Path) -> None:
    folder = job(Home(tmp_path), "stage1", state="running")
    with watching(folder):
        assert watched(Home(tmp_path), flow_run("RUNNING", time.time() + 100)) == "alive"


def test_a_machine_that_was_never_left_tells_of_a_death_between_two_stages(tmp_path: Path) -> None:
    home = Home(tmp_path)
    stage, lease = job(home, "stage1", state="finished"), lease_folder(home, "r")
    lease.mkdir(parents=True)
    for folder, record in ((stage, {"since": 220.0, "left": 250.0}), (lease, {"since": 200.0})):
        (folder / LOCK).touch()
        supervisor.write_json(folder / RECORD, {"pid": 1} | record)
    assert watched(home, flow_run("RUNNING", 100.0)) == "dead"
    supervisor.write_json(lease / RECORD, {"pid": 1, "since": 200.0, "left": 260.0})
    assert watched(home, flow_run("RUNNING", 100.0)) == "unknown"
    with watching(lease):
        assert watched(home, flow_run("RUNNING", 100.0)) == "alive"
