"""Whatever is killed in mid-training, the run ends with the adapter of an undisturbed one."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from mlflow import MlflowClient
from prefect.states import Cancelling

from cft.files import digest_file
from cft.home import Home
from cft.recipe import Recipe
from cft.tracking.run_directory import RunDirectory
from flows.forms import TrainSettings
from flows.train import train
from flows.two_stage import two_stage
from tasks.machine import process_table, supervisor
from tasks.machine.jobs import living_jobs, stop_jobs
from tasks.machine.watcher import watcher_of
from tests.integration.conftest import with_ranks
from tests.integration.prefect_processes import Place, flow_processes, kill, tail
from tests.integration.strikes import kill_launcher, kill_rank
from tests.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3000)]

STEPS = 150


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(Home(tmp_path_factory.mktemp("killed")))
    place.start_server()
    try:
        yield place
    finally:
        place.close()
        for job in living_jobs(place.home):
            stop_jobs(place.home, job.flow_run_id, grace=0.0)


@pytest.fixture(scope="module")
def recipe(tiny: Recipe) -> Recipe:
    """Steps of some hundredths of a second, with dropout, so that any lost step would show."""
    assert tiny.model.lora.dropout > 0
    stage1 = {"max_steps": STEPS, "save_steps": 10, "learning_rate": 5e-4}
    return with_ranks(tiny, 2).model_copy(
        update={"name": "killed", "stage1": tiny.stage1.model_copy(update=stage1)}
    )


@pytest.fixture(scope="module")
def both_stages(place: Place, recipe: Recipe) -> Callable[[], str]:
    """Start the main flow."""
    deployment = place.deploy(two_stage)
    return lambda: place.trigger(deployment, {"recipe": recipe.model_dump(mode="json")})


@pytest.fixture(scope="module")
def one_stage(place: Place, recipe: Recipe) -> Callable[[], str]:
    """Start the flow of one stage, whose stage 1 is that of the main flow."""
    deployment, settings = place.deploy(train), TrainSettings(recipe=recipe, stage="stage1")
    return lambda: place.trigger(deployment, {"settings": settings.model_dump(mode="json")})


@pytest.fixture
def worker(place: Place):
    """A worker of the test's own; a killed one is not missed."""
    worker = place.start_worker()
    yield worker
    kill(worker)


@pytest.fixture(scope="module")
def reference(place: Place, one_stage: Callable[[], str]) -> str:
    """The adapter of the run that nobody disturbs."""
    worker = place.start_worker()
    try:
        run = one_stage()
        assert place.wait(run, "Completed", "Failed", "Crashed") == "Completed", tail(
            place.home.path / "worker.log"
        )
    finally:
        kill(worker)
    return adapter(place.home, run)


def adapter(home: Home, run: str) -> str:
    return digest_file(home.runs / run / "stage1" / "adapter" / "adapter_model.safetensors")


def training(home: Home, run: str, steps: int) -> RunDirectory:
    """The first stage of a run, once it has trained so many steps."""
    folder = RunDirectory(home.runs / run / "stage1")

    def trained() -> bool:
        time.sleep(0.1)
        seen = [event["step"] or 0 for event in folder.read_events(0)[0]]
        return max(seen, default=0) >= steps

    until(trained, 600)
    assert not folder.adapter.exists(), "the strike would come too late"
    return folder


def token(folder: RunDirectory) -> str:
    return str(supervisor.read_json(folder.path / "supervisor.json")["token"])


def held(folder: RunDirectory) -> Callable[[], None]:
    """Stop the job's clock, so that it is still in mid-training when the retry has started."""
    pids = process_table.members(token(folder))
    process_table.signal_all(pids, signal.SIGSTOP)
    return lambda: process_table.signal_all(pids, signal.SIGCONT)


def logs(folder: RunDirectory) -> list[Path]:
    return sorted(folder.path.glob("train-*.log"))


def mlflow_status(home: Home, run: str) -> dict[str, str]:
    client = MlflowClient(home.local_tracking_uri)
    experiment = client.get_experiment_by_name("cft")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], f"tags.`cft.job` = '{run}'")
    return {one.data.tags["cft.role"]: one.info.status for one in found}


def kill_flow(run: str) -> None:
    found = flow_processes(run)
    assert found
    for process in found:
        process.kill()


def ended_like(place: Place, run: str, reference: str) -> None:
    # A worker tells a crash a second time when its hooks have ended, which the run then corrects.
    assert place.wait(run, "Completed", "Failed", "Cancelled") == "Completed", tail(
        place.home.path / "worker.log"
    )
    assert adapter(place.home, run) == reference
    assert set(mlflow_status(place.home, run).values()) == {"FINISHED"}
    assert not [job for job in living_jobs(place.home) if job.flow_run_id == run]


# One run takes several blows, one after the other: each start of a flow and of its ranks costs
# half a minute on a small machine, and the adapter at the end answers for all of them.


def test_the_trainer_one_rank_the_flow_and_the_worker(
    place: Place, reference, both_stages, worker
) -> None:
    run = both_stages()
    folder = training(place.home, run, 20)
    kill_launcher(folder)
    failed(place, run, folder)

    place.retry(run)
    kill_rank(training(place.home, run, 50))
    failed(place, run, folder)

    place.retry(run)
    training(place.home, run, 80)
    job, go_on = token(folder), held(folder)
    kill_flow(run)
    began = time.monotonic()
    place.wait(run, "Crashed", seconds=90)
    assert time.monotonic() - began < 30, "the worker says so at once"
    assert watcher_of(folder.path).state == "dead"

    place.retry(run)
    until(lambda: watcher_of(folder.path).state == "alive", 600)
    kill(worker)
    go_on()
    ended_like(place, run, reference)
    assert token(folder) == job, "the retry took up the living job"
    assert len(logs(folder)) == 3
    assert place.read(run).run_count >= 4
    said = [path.read_text(encoding="utf-8") for path in logs(folder)]
    assert ["resuming from checkpoint-" in text for text in said] == [False, True, True]


def test_cancellation_then_worker_and_flow_together_then_the_server(
    place: Place, reference, one_stage, worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = one_stage()
    folder = training(place.home, run, 20)
    cancelled(place, run, folder)

    place.retry(run)
    training(place.home, run, 50)
    job, go_on = token(folder), held(folder)
    kill(worker)
    kill_flow(run)
    time.sleep(2)
    assert place.wait(run, "Running", "Crashed", "Failed") == "Running", "nobody can say otherwise"
    result = place.reconcile(monkeypatch)
    mended = [one["kind"] for one in result["actions"] if one["subject"] == run and one["done"]]
    assert mended == ["crash", "retry"], result

    second = place.start_worker()
    try:
        until(lambda: watcher_of(folder.path).state == "alive", 600)
        assert token(folder) == job, "the retry took up the living job"
        place.kill_server()
        go_on()
        time.sleep(5)
        place.start_server()
        until(lambda: place.over(run, monkeypatch), 900)
        ended_like(place, run, reference)
    finally:
        kill(second)
    assert place.read(run).run_count >= 3


def test_cancellation_without_a_worker(place: Place, reference, one_stage, worker) -> None:
    run = one_stage()
    folder = training(place.home, run, 20)
    kill(worker)
    cancelled(place, run, folder)


def failed(place: Place, run: str, folder: RunDirectory) -> None:
    """The run says so, and nothing of its job is left."""
    assert place.wait(run, "Failed", "Crashed", "Completed") == "Failed"
    assert process_table.members(token(folder)) == set()
    assert set(mlflow_status(place.home, run).values()) == {"FAILED"}


def cancelled(place: Place, run: str, folder: RunDirectory) -> None:
    """Cancel a run as the UI does: nothing of it is left in time, and what it learnt is."""
    began = time.monotonic()
    with place.client() as client:
        client.set_flow_run_state(UUID(run), Cancelling())
    until(lambda: not process_table.members(token(folder)), 20)
    assert time.monotonic() - began < 15
    until(lambda: folder.read_status()["state"] == "killed", 5)
    assert list(folder.checkpoints.glob("checkpoint-*"))
    place.wait(run, "Cancelled")  # when its hooks have ended
    until(lambda: not flow_processes(run), 200)
    assert place.read(run).state_name == "Cancelled", "and stays so when its process is gone"
    assert mlflow_status(place.home, run) == {"stage1": "KILLED"}
