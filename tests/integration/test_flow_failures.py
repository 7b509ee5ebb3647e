"""What a two-stage run leaves when something goes wrong: the truth, and nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client

from cft.errors import CftError
from cft.home import Home
from cft.recipe import Recipe
from cft.tracking.run_directory import RunDirectory
from flows.two_stage import two_stage
from tasks.machine import supervisor
from tasks.machine.local import LocalMachine
from tasks.train import TrainingError

pytestmark = pytest.mark.integration


@pytest.fixture
def long(tiny: Recipe, first_run: dict[str, Any]) -> Recipe:
    """A stage 1 that is still running whenever the test strikes; its inputs are cached."""
    return tiny.model_copy(
        update={
            "name": "long",
            "stage1": tiny.stage1.model_copy(update={"max_steps": 100_000, "save_steps": 5}),
        }
    )


def folders(home: Home) -> set[Path]:
    return set(home.runs.iterdir()) if home.runs.is_dir() else set()


class Striker(threading.Thread):
    """Waits until a new run has trained some steps, then strikes."""

    def __init__(self, home: Home, strike: Callable[[RunDirectory], None], steps: int = 8) -> None:
        super().__init__(daemon=True)
        self.home, self.strike, self.steps = home, strike, steps
        self.before = folders(home)
        self.run_directory: RunDirectory | None = None

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for folder in folders(self.home) - self.before:
                run = RunDirectory(folder / "stage1")
                steps = [event["step"] or 0 for event in run.read_events(0)[0]]
                if max(steps, default=0) >= self.steps:
                    self.run_directory = run
                    self.strike(run)
                    return
            time.sleep(0.1)


def ranks(run: RunDirectory) -> list[int]:
    """Pids of the training processes of a run, found by their command line."""
    token = supervisor.read_json(run.path / "supervisor.json")["token"]
    found = []
    for pid in supervisor.members(token):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"cft.training.main" in words and b"accelerate.commands.launch" not in words:
            found.append(pid)
    return sorted(found)


def status_by_role(home: Home, job: str) -> dict[str, str]:
    client = MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name("cft")
    found = client.search_runs([experiment.experiment_id], f"tags.`cft.job` = '{job}'")
    return {run.data.tags["cft.role"]: run.info.status for run in found}


def flow_state(job: str) -> Any:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(job).state


def kill_rank(run: RunDirectory) -> None:
    os.kill(ranks(run)[-1], signal.SIGKILL)


def kill_launcher(run: RunDirectory) -> None:
    os.kill(supervisor.read_json(run.path / "supervisor.json")["child_pid"], signal.SIGKILL)


@pytest.mark.parametrize(
    ("strike", "how"),
    [(kill_rank, "failed with exit code 1"), (kill_launcher, "killed by signal 9")],
    ids=["one rank", "the launcher"],
)
def test_kill_9_of_the_trainer(home: Home, long: Recipe, strike, how: str) -> None:
    striker = Striker(home, strike)
    striker.start()
    with pytest.raises(TrainingError) as error:
        two_stage(long)
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
    assert supervisor.members(supervisor.read_json(run.path / "supervisor.json")["token"]) == set()
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
    huge = tiny.model_copy(
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


DRIVER = """
import json, sys
from cft.home import Home
from cft.recipe import validated
from flows.environment import prepare_environment
prepare_environment(Home.from_environment())
from flows.two_stage import run_and_show
run_and_show(validated(json.loads(sys.argv[1]), "argument"))
"""


@pytest.fixture
def driven(home: Home, long: Recipe) -> Iterator[subprocess.Popen]:
    """The flow in a process of its own, as `cft` runs it, on the same state folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, json.dumps(long.model_dump())],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"CFT_HOME": str(home.path)},
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_flow_leaves_no_process_and_says_killed(
    home: Home, driven: subprocess.Popen, number: int
) -> None:
    struck: list[float] = []

    def strike(run: RunDirectory) -> None:
        struck.append(time.monotonic())
        driven.send_signal(number)

    striker = Striker(home, strike)
    striker.start()
    output, _ = driven.communicate(timeout=240)
    striker.join()
    run = striker.run_directory
    assert run is not None, output[-2000:]
    assert driven.returncode != 0
    assert supervisor.members(supervisor.read_json(run.path / "supervisor.json")["token"]) == set()
    assert run.read_status()["state"] == "killed"
    ended = run.read_status()["ended"] - time.time() + time.monotonic()
    assert ended - struck[0] < 15
    assert list(run.checkpoints.glob("checkpoint-*")), "the last checkpoint is kept"
    job = run.path.parent.name
    assert status_by_role(home, job) == {"two-stage": "KILLED", "stage1": "KILLED"}


def test_kill_9_of_the_flow_spares_the_job(home: Home, driven: subprocess.Popen) -> None:
    striker = Striker(home, lambda run: driven.kill())
    striker.start()
    driven.communicate(timeout=240)
    striker.join()
    run = striker.run_directory
    assert run is not None
    machine = LocalMachine(grace=2)
    handle = machine.find(run.path)
    assert handle is not None
    offset = run.events.stat().st_size
    deadline = time.monotonic() + 60
    while run.events.stat().st_size == offset and time.monotonic() < deadline:
        time.sleep(0.1)
    assert run.events.stat().st_size > offset, "it trains on without its watcher"
    assert machine.stop(handle).state == "killed"
