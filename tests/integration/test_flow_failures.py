"""What a two-stage run leaves when something goes wrong: the truth, and nothing half-written."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from prefect import flow
from prefect.client.orchestration import get_client

from cft.errors import CftError
from cft.home import Home
from cft.recipe import Recipe
from cft.tracking.run_directory import RunDirectory
from cft.tracking.runs import Tracking
from cft.training.spec import TrainSpec
from flows.two_stage import two_stage
from tasks.machine import process_table, supervisor
from tasks.machine.local import LocalMachine
from tasks.train import TrainingError, train_stage
from tests.integration.conftest import with_ranks
from tests.integration.strikes import Striker, folders, kill_launcher, kill_rank
from tests.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]


@pytest.fixture
def long(tiny: Recipe, first_run: dict[str, Any]) -> Recipe:
    """A stage 1 that is still running whenever the test strikes; its inputs are cached."""
    return tiny.model_copy(
        update={
            "name": "long",
            "stage1": tiny.stage1.model_copy(update={"max_steps": 100_000, "save_steps": 5}),
        }
    )


def status_by_role(home: Home, job: str) -> dict[str, str]:
    client = MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name("cft")
    found = client.search_runs([experiment.experiment_id], f"tags.`cft.job` = '{job}'")
    return {run.data.tags["cft.role"]: run.info.status for run in found}


def flow_state(job: str) -> Any:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(job).state


@pytest.mark.parametrize(
    ("strike", "how"),
    [(kill_rank, "failed with exit code 1"), (kill_launcher, "killed by signal 9")],
    ids=["one rank", "the launcher"],
)
def test_kill_9_of_the_trainer(home: Home, long: Recipe, strike, how: str) -> None:
    striker = Striker(home, strike)
    striker.start()
    with pytest.raises(TrainingError) as error:
        two_stage(with_ranks(long, 2))
    striker.join()
    run = striker.run_directory
    assert run is not None
    message = str(error.value)
    first, *log = message.splitlines()
    assert first.startswith(f"stage1: the training process {how}; last lines of its log")
    assert 3 <= len(log) <= 20
    assert log == run.last_log_lines(20)

    job = run.path.parent.name
    state = flow_state(job)
    assert state.name == "Failed"
    assert log[-1] in state.message
    assert status_by_role(home, job) == {"two-stage": "FAILED", "stage1": "FAILED"}
    record = supervisor.read_json(run.path / "supervisor.json")
    assert process_table.members(record["token"]) == set()
    assert not run.adapter.exists()
    assert not (run.path.parent / "results").exists()
    names = {path.name for path in run.path.iterdir()}
    assert not {name for name in names if name.startswith("adapter")}
    for checkpoint in run.checkpoints.glob("checkpoint-*"):
        assert (checkpoint / "trainer_state.json").exists(), "a published checkpoint is whole"

    client = MlflowClient(home.tracking_uri)
    (child,) = client.search_runs(
        [client.get_experiment_by_name("cft").experiment_id],
        f"tags.`cft.job` = '{job}' AND tags.`cft.role` = 'stage1'",
    )
    steps = {p.step for p in client.get_metric_history(child.info.run_id, "train/loss")}
    events = run.read_events(0)[0]
    assert steps == {e["step"] for e in events if "train/loss" in e.get("values", {})}
    assert max(steps) >= 8, "what was learnt until then is in MLflow"


def test_a_corpus_smaller_than_a_batch(home: Home, tiny: Recipe, first_run) -> None:
    before = folders(home)
    huge = with_ranks(tiny, 2).model_copy(
        update={"stage2": tiny.stage2.model_copy(update={"batch_size": 1_000_000})}
    )
    with pytest.raises(CftError) as error:
        two_stage(huge)
    message = str(error.value)
    assert message.startswith("stage2: ")
    assert "fewer than one global batch of 2000000 (2 processes x 1000000)" in message
    assert "lower --stage2-batch-size" in message
    assert "\n" not in message
    assert folders(home) == before, "nothing was launched"
    client = MlflowClient(home.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("cft").experiment_id])
    assert all(run.info.status != "RUNNING" for run in runs)


def test_a_backbone_that_is_none(home: Home, tiny: Recipe, tmp_path: Path) -> None:
    made = {path.name for path in home.path.iterdir()}
    wrong = tiny.model_copy(
        update={"model": tiny.model.model_copy(update={"backbone": str(tmp_path / "nowhere")})}
    )
    with pytest.raises(CftError, match=r"nowhere: no such folder; give the folder"):
        two_stage(wrong)
    assert {path.name for path in home.path.iterdir()} == made


def test_bad_input_is_one_line_on_the_terminal(home: Home, tmp_path: Path) -> None:
    before = folders(home)
    (tmp_path / "epic").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "cft.cli", "pilot", "--itihasa", str(tmp_path / "epic")],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"CFT_HOME": str(home.path)},
    )
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert lines[-1].startswith(f"error: {tmp_path / 'epic'}")
    assert len([line for line in lines if "epic" in line]) == 1, "said once"
    assert "Traceback" not in done.stderr + done.stdout
    assert folders(home) == before
    assert not list(home.path.rglob("*.partial"))


DRIVER = """
import json, sys
from cft.home import Home
from cft.recipe import validated
from flows.environment import prepare_environment
prepare_environment(Home.from_environment())
from flows.two_stage import run_and_show
run_and_show(validated(json.loads(sys.argv[1]), "argument"))
"""


@dataclass
class Driven:
    """The flow in a process of its own, as `cft` runs it, on the same state folder."""

    process: subprocess.Popen
    output: Path

    def left(self) -> list[str]:
        """Command lines of its process group that are still there; jobs are in other groups."""
        found = []
        for one in psutil.process_iter(["pid", "cmdline", "status"]):
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(one.pid) == self.process.pid and one.info["status"] != "zombie":
                    found.append(" ".join(one.info["cmdline"]))
        return found


@pytest.fixture
def driven(home: Home, long: Recipe, tmp_path: Path) -> Iterator[Driven]:
    output = tmp_path / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, json.dumps(long.model_dump())],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"CFT_HOME": str(home.path)},
            start_new_session=True,
        )
    yield Driven(process, output)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# Ctrl-C, and the lost terminal; SIGTERM is handled as the latter.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_stopped_flow_leaves_no_process_and_says_killed(
    home: Home, driven: Driven, number: int
) -> None:
    struck: list[float] = []

    def strike(run: RunDirectory) -> None:
        struck.append(time.time())
        driven.process.send_signal(number)

    striker = Striker(home, strike)
    striker.start()
    code = driven.process.wait(timeout=240)
    striker.join()
    run = striker.run_directory
    assert run is not None, driven.output.read_text(encoding="utf-8")[-2000:]
    assert code != 0
    assert driven.left() == [], "the temporary server ends with the flow"
    record = supervisor.read_json(run.path / "supervisor.json")
    assert process_table.members(record["token"]) == set()
    assert run.read_status()["state"] == "killed"
    assert run.read_status()["ended"] - struck[0] < 15
    assert list(run.checkpoints.glob("checkpoint-*")), "the last checkpoint is kept"
    job = run.path.parent.name
    assert status_by_role(home, job) == {"two-stage": "KILLED", "stage1": "KILLED"}


def test_kill_9_of_the_flow_spares_the_job_and_a_retry_takes_it_up(
    home: Home, driven: Driven
) -> None:
    striker = Striker(home, lambda run: os.killpg(driven.process.pid, signal.SIGKILL))
    striker.start()
    driven.process.wait(timeout=240)
    striker.join()
    run = striker.run_directory
    assert run is not None
    machine = LocalMachine(grace=2)
    handle = machine.find(run.path)
    assert handle is not None
    steps = len(run.read_events(0)[0])
    assert until(lambda: len(run.read_events(0)[0]) > steps, 60), "it trains on, unwatched"

    # What a retried flow run does: the same task on the same run directory.
    spec = TrainSpec.load(run.spec)
    tracking = Tracking.open(home, "cft")

    @flow
    def retried() -> None:
        with tracking.run("long stage1", role="stage1", job=run.path.parent.name) as tracked:
            seen.append(tracked.id)
            train_stage(spec, str(run.path), tracked)

    seen: list[str] = []
    killer = threading.Timer(4.0, kill_launcher, [run])
    killer.start()
    with pytest.raises(TrainingError, match="killed by signal 9"):
        retried()
    assert len(list(run.path.glob("train-*.log"))) == 1, "it was not started a second time"
    assert process_table.members(handle.token) == set()
    history = tracking.client.get_metric_history(seen[0], "train/loss")
    logged = [e["step"] for e in run.read_events(0)[0] if "train/loss" in e.get("values", {})]
    assert sorted(point.step for point in history) == logged, "each step once, none lost"
    assert tracking.client.get_run(seen[0]).info.status == "FAILED"
