"""What a push says of a run: read from its directory, composed from plain data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cft.files import write_json
from cft.home import Home
from tasks.machine.job import Job
from tasks.machine.local import LocalMachine
from tasks.notify.facts import Headline, facts_of, said_by
from tasks.notify.outcome import Outcome, compared, outcome_push, reason_of

RUN = "http://127.0.0.1:4200/runs/flow-run/0f"
JOB = "5b3e6a0c-8d0e-4d6c-9c8e-0a1b2c3d4e5f"
FIGURES = {
    "mean/mrr": {"value": 0.25, "low": 0.2, "high": 0.3},
    "sts/spearman": {"value": 0.5, "low": 0.4, "high": 0.6},
    "anisotropy/mean": {"value": 0.7, "low": 0.6, "high": 0.8},
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def evaluated(folder: Path) -> str:
    write_json(folder / "evaluation.json", {"figures": FIGURES})
    return str(folder)


def test_a_run_that_completed(home: Home, tmp_path: Path) -> None:
    here = home.runs / JOB
    write_json(here / "stage1/status.json", {"state": "finished", "exit_code": 0, "started": 1})
    write_json(here / "stage2/status.json", {"state": "finished", "exit_code": 0, "started": 2})
    evaluations = {"base": "nowhere", "stage2": evaluated(tmp_path / "e")}
    write_json(here / "result.json", {"evaluations": evaluations, "version": "7", "model": "m"})
    facts = facts_of(home, JOB)
    assert (facts.exit, facts.failed, facts.living) == ("exit code 0", False, False)
    assert facts.headlines == (
        Headline("Cross-lingual MRR", 0.25, "figure.mean/mrr", "higher"),
        Headline("STS Spearman", 0.5, "figure.sts/spearman", "higher"),
    )
    tags = {"figure.mean/mrr": "0.2", "figure.sts/spearman": "none", "data_digest": "d"}
    lines = compared(facts.headlines, "3", tags, "d") + said_by(facts.result)
    push = outcome_push(
        Outcome("two-stage", "pilot", "completed", 1, 252.0, facts.exit, None, lines),
        click=RUN,
        mlflow="http://127.0.0.1:5000/#/experiments/1/runs/2",
    )
    assert push.title == "two-stage completed: pilot"
    assert push.body.splitlines() == [
        "4 min 12 s, exit code 0",
        "Cross-lingual MRR 0.250 (champion 0.200, +0.050)",
        "STS Spearman 0.500",
        "m version 7",
    ]
    assert (push.priority, push.tags) == (3, ("white_check_mark", "cft", "two-stage"))
    assert push.click == RUN
    assert [one.label for one in push.actions] == ["MLflow"]


def test_figures_on_other_data_are_no_measure() -> None:
    headline = [Headline("Cross-lingual MRR", 0.25, "figure.mean/mrr", "higher")]
    tags = {"figure.mean/mrr": "0.2", "data_digest": "other"}
    (line,) = compared(headline, "3", tags, "d")
    assert line == "Cross-lingual MRR 0.250 (champion 0.200, on other data)"
    assert compared(headline, None, {}, "d") == ["Cross-lingual MRR 0.250"]


def test_an_evaluation_names_its_suites(home: Home, tmp_path: Path) -> None:
    suites = {"trika": {"base": "nowhere", "tuned": evaluated(tmp_path / "e")}}
    write_json(home.runs / JOB / "result.json", {"evaluations": suites})
    tags = {"score.trika/mean/mrr": "0.3"}
    first, second = compared(facts_of(home, JOB).headlines, "3", tags)
    assert first == "trika: Cross-lingual MRR 0.250 (champion 0.300, -0.050)"
    assert second == "trika: STS Spearman 0.500"


def test_several_models_have_no_headline(home: Home, tmp_path: Path) -> None:
    result = {"suite": "trika", "evaluations": {"a": evaluated(tmp_path / "e")}}
    write_json(home.runs / JOB / "result.json", result | {"absent": {"LaBSE": "not here"}})
    facts = facts_of(home, JOB)
    assert facts.headlines == ()
    assert said_by(facts.result) == ["LaBSE was not evaluated"]


@pytest.mark.parametrize(
    ("status", "exit", "failed"),
    [
        ({"state": "failed", "exit_code": 1, "signal": None}, "exit code 1", True),
        ({"state": "killed", "exit_code": None, "signal": 9}, "signal 9", True),
        ({"state": "finished", "exit_code": 0}, "exit code 0", False),
        ({"state": "running", "pid": 1}, None, False),
    ],
)
def test_how_the_newest_job_ended(home: Home, status, exit, failed) -> None:
    here = home.runs / JOB
    write_json(here / "stage1/status.json", {"state": "finished", "exit_code": 0, "started": 1})
    write_json(here / "stage2/status.json", status | {"started": 2})
    facts = facts_of(home, JOB)
    assert (facts.exit, facts.failed, facts.living) == (exit, failed, False)


def test_a_job_that_lives_on(home: Home) -> None:
    run = home.runs / JOB / "stage1"
    machine = LocalMachine(grace=1)
    handle = machine.start(Job(run, [sys.executable, "-c", "import time; time.sleep(60)"]))
    try:
        assert facts_of(home, JOB).living is True
    finally:
        machine.stop(handle)
    facts = facts_of(home, JOB)
    assert (facts.living, facts.exit) == (False, "signal 15")


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"evaluations": 3}', '{"evaluations": {}}'])
def test_what_cannot_be_read_is_left_out(home: Home, content: str) -> None:
    here = home.runs / JOB
    (here / "stage1").mkdir(parents=True)
    (here / "result.json").write_text(content, encoding="utf-8")
    (here / "stage1" / "status.json").write_text(content, encoding="utf-8")
    facts = facts_of(home, JOB)
    assert facts.headlines == ()
    assert facts.exit is None
    assert facts_of(home, "no such run").result == {}


def test_the_reason_of_a_failure() -> None:
    message = (
        "Flow run encountered an exception: TrainingError: stage1: the training process failed "
        "with exit code 1; last lines of its log in /r:\nepoch 1\n\nValueError: the loss is nan\n"
    )
    assert reason_of(message) == (
        "TrainingError: stage1: the training process failed with exit code 1; last lines of its "
        "log in /r:\nValueError: the loss is nan"
    )
    assert reason_of("one line") == "one line"
    assert len(reason_of("x" * 900 + "\n" + "y" * 900)) <= 501


@pytest.mark.parametrize(
    ("ending", "priority", "tag"),
    [
        ("completed", 3, "white_check_mark"),
        ("failed", 4, "x"),
        ("crashed", 5, "skull"),
        ("cancelled", 3, "no_entry"),
        ("started", 2, "arrow_forward"),
    ],
)
def test_every_ending(ending, priority: int, tag: str) -> None:
    outcome = Outcome("prepare", "tiny", ending, attempt=2, seconds=3, exit="signal 9", reason="R")
    push = outcome_push(outcome, click=RUN)
    assert push.title == f"prepare {ending}: tiny"
    assert (push.priority, push.tags[0]) == (priority, tag)
    lines = push.body.splitlines()
    assert lines[0] == "3.0 s, signal 9, attempt 2"
    assert lines[1:] == ([] if ending == "completed" else ["R"])
    assert push.actions == ()
    bare = outcome_push(Outcome("prepare", "tiny", ending), click=RUN)
    assert bare.body == ending


def test_composing_needs_neither_prefect_nor_mlflow_to_be_up(tmp_path: Path) -> None:
    """A hook's process starts from nothing: what it imports is what it waits for."""
    code = (
        "import json, sys, tasks.notify.facts, tasks.notify.outcome\n"
        "print(json.dumps([name for name in ('mlflow', 'torch') if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert json.loads(done.stdout) == []
