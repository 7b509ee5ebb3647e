"""The same recipe on another machine: the same adapter, and no machine is left that costs money.

The host is this one, through a real SSH server; the provider is the contract server of its API.
"""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen
from uuid import UUID

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.states import Cancelling

from cft.errors import CftError
from cft.files import digest_file
from cft.home import Home
from cft.recipe import Recipe
from cft.tracking.run_directory import RunDirectory
from flows.forms import TrainSettings
from flows.forms_machines import NotebookSettings, SweepSettings
from flows.notebook import notebook
from flows.sweep import sweep
from flows.train import train
from flows.two_stage import two_stage
from tasks.machine import process_table, supervisor
from tasks.machine.hire import identity_of, lease_folder
from tasks.machine.notebook import notebook_at
from tasks.machine.provider.ledger import ledger_of
from tasks.machine.provider.settings import LambdaSettings
from tasks.machine.settings import MachineSettings
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.watcher import watcher_of
from tests.integration.prefect_processes import Place, flow_processes, kill, tail
from tests.integration.speaking import speaking_to
from tests.lambda_account import KEY, LambdaAccount
from tests.lambda_server import serve_lambda
from tests.ntfy import Sink, serve_ntfy
from tests.processes import until
from tests.sshd import USER, Sshd, needs_sshd, public, running

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800), needs_sshd]

WEIGHTS = "adapter_model.safetensors"
TOPIC = "cft-machines"


class WallClock:
    """The time that the renter's process has as well."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def now(self) -> float:
        return time.monotonic() - self._began

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as host:
        yield host


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("there")


def test_a_host_of_ones_own_makes_the_adapters_that_this_machine_makes(
    home: Home, tiny: Recipe, first_run: dict[str, Any], host: Sshd, base: Path
) -> None:
    machine = MachineSettings(
        kind="ssh", ssh=host.settings(), base=str(base), python=sys.executable
    )
    made = two_stage(tiny, machine)
    for stage, folder in made["adapters"].items():
        assert Path(folder).is_relative_to(home.runs), "it is here"
        there = base / "runs" / made["flow_run_id"] / stage
        assert digest_file(there / "adapter" / WEIGHTS) == digest_file(Path(folder) / WEIGHTS)
        here = Path(first_run["adapters"][stage])
        assert digest_file(Path(folder) / WEIGHTS) == digest_file(here / WEIGHTS)
        config = json.loads((Path(folder) / "adapter_config.json").read_text(encoding="utf-8"))
        assert config["base_model_name_or_path"] == made["backbone"], "not the host's copy"
    assert "provision" in [one["name"] for one in made["steps"]]
    (log,) = Path(made["run_directory"]).glob("machine-*.log")
    assert "code in" in log.read_text(encoding="utf-8")
    client = MlflowClient(home.tracking_uri)
    kept = [one.path for one in client.list_artifacts(made["mlflow_run_id"], "machine")]
    assert kept == [f"machine/{log.name}"]
    history = client.get_metric_history(made["mlflow_run_id"], "machine/dollars")
    assert not history, "nothing was rented"
    assert watcher_of(lease_folder(home, made["flow_run_id"])).left


def test_a_flow_serves_a_notebook_for_its_time_and_ends_it(
    home: Home, host: Sshd, tmp_path: Path
) -> None:
    machine = MachineSettings(
        kind="ssh", ssh=host.settings(), base=str(tmp_path / "there"), python=sys.executable
    )
    settings = NotebookSettings(machine=machine, device="cpu", hours=0.008)
    seen: list[tuple[int, str]] = []

    def visit() -> None:
        link = until(lambda: next(iter(home.runs.glob("*/notebook.url")), None), 120)
        assert link.stat().st_mode & 0o777 == 0o600
        url = urlsplit(link.read_text(encoding="utf-8").strip())
        address = f"http://{url.netloc}/api/status?{url.query}"
        with urlopen(address, timeout=30) as answer:
            seen.append((answer.status, url.query))

    with ThreadPoolExecutor(1) as pool:
        visited = pool.submit(visit)
        result = notebook(settings)
        visited.result()
    assert result["ended"] == "its time is over"
    ((status, query),) = seen
    assert status == 200
    assert not list(home.runs.glob("*/notebook.url"))
    with Connection(host.settings(), KnownHosts(tmp_path / "hosts")) as there:
        assert notebook_at(there, machine.base) is None
    with get_client(sync_client=True) as client:
        pages = [one.data for one in client.read_artifacts() if one.key == "notebook"]
    assert len(pages) == 1
    assert query.partition("=")[2] not in str(pages), "the UI is read by others"


def test_a_flow_does_not_serve_its_own_machine(home: Home) -> None:
    with pytest.raises(CftError, match="choose ssh or lambda, or run `cft notebook"):
        notebook()


@pytest.fixture(scope="module")
def recipe(tiny: Recipe) -> Recipe:
    """Steps enough to be struck between two of them."""
    stage1 = {"max_steps": 200, "save_steps": 50, "learning_rate": 5e-4}
    return tiny.model_copy(
        update={"name": "rented", "stage1": tiny.stage1.model_copy(update=stage1)}
    )


@pytest.fixture(scope="module")
def undisturbed(home: Home, recipe: Recipe) -> str:
    made = train(TrainSettings(recipe=recipe))
    return digest_file(Path(made["adapter"]) / WEIGHTS)


@pytest.fixture(scope="module")
def account() -> Iterator[LambdaAccount]:
    account = LambdaAccount(boot=1.0, ip_polls=0, ending=1.0, refuse_end=1.0, ssh_keys={})
    account.clock = WallClock()
    with serve_lambda(account):
        yield account


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with serve_ntfy() as sink:
        yield sink


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, account: LambdaAccount, host: Sshd, sink: Sink
) -> Iterator[Place]:
    home = Home(tmp_path_factory.mktemp("rented"))
    own = identity_of(home, MachineSettings())
    with host.authorized.open("a") as keys:
        keys.write(public(own) + "\n")
    place = Place(
        home,
        {"LAMBDA_API_KEY": account.key, "CFT_NTFY_URL": sink.url, "CFT_NTFY_TOPIC": TOPIC},
    )
    place.start_server()
    try:
        yield place
    finally:
        place.close()


@pytest.fixture(scope="module")
def rented(account: LambdaAccount, host: Sshd, base: Path) -> MachineSettings:
    cloud = LambdaSettings(base_url=account.url, ssh_port=host.port)
    return MachineSettings(
        kind="lambda", cloud=cloud, user=USER, base=str(base), python=sys.executable
    )


@pytest.fixture(scope="module")
def start(place: Place, recipe: Recipe, rented: MachineSettings) -> Callable[..., str]:
    """Start the flow, of another recipe where one is given."""
    deployment = place.deploy(train)

    def trigger(other: Recipe | None = None) -> str:
        settings = TrainSettings(recipe=other or recipe, machine=rented)
        return place.trigger(deployment, {"settings": settings.model_dump(mode="json")})

    return trigger


def swept(place: Place, cloud: LambdaSettings, patch: pytest.MonkeyPatch, **more: Any) -> Any:
    """One pass of the sweep's flow beside the worker."""
    with patch.context() as inner, speaking_to(place.url):
        for name in ("CFT_HOME", "LAMBDA_API_KEY", "CFT_NTFY_URL", "CFT_NTFY_TOPIC"):
            inner.setenv(name, place.environment[name])
        return sweep(SweepSettings(cloud=cloud, **more))


def test_after_kill_9_of_worker_and_flow_the_run_attaches_finishes_and_gives_back(
    place: Place,
    start: Callable[[], str],
    account: LambdaAccount,
    rented: MachineSettings,
    base: Path,
    undisturbed: str,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = place.start_worker()
    run = start()
    folder = RunDirectory(place.home.runs / run / "stage1")
    until(lambda: max_step(folder) >= 20, 600)
    assert len(account.living) == 1
    # It must still be in mid-training when the retry has come so far, which takes half a minute.
    there = RunDirectory(base / "runs" / run / "stage1")
    pids = process_table.members(str(supervisor.read_json(there.path / "supervisor.json")["token"]))
    process_table.signal_all(pids, signal.SIGSTOP)
    kill(worker)
    for process in flow_processes(run):
        process.kill()
    assert not there.adapter.is_dir(), "the strike came too late"
    until(lambda: watcher_of(lease_folder(place.home, run)).state == "dead", 30)
    # Its run may be taken up again, so the sweep leaves it for a while.
    (row,) = swept(place, rented.cloud, monkeypatch)["rows"]
    assert (row["job"], row["verdict"]) == (run, "keep")

    second = place.start_worker()
    try:
        place.retry(run)
        until(lambda: watcher_of(folder.path).state == "alive", 600)
        process_table.signal_all(pids, signal.SIGCONT)
        assert place.wait(run, "Completed", "Failed", "Crashed") == "Completed", tail(
            place.home.path / "worker.log"
        )
    finally:
        kill(second)
    assert digest_file(folder.adapter / WEIGHTS) == undisturbed
    assert len(list(folder.path.glob("train-*.log"))) == 1, "the living job was taken up"
    assert (account.living, len(account.launches())) == ([], 1)
    (entry,) = ledger_of(place.home).of_job(run)
    assert (entry.state, entry.note) == ("released", "done")

    result = json.loads((place.home.runs / run / "result.json").read_text(encoding="utf-8"))
    client = MlflowClient(place.home.local_tracking_uri)
    metrics = client.get_run(result["mlflow_run_id"]).data.metrics
    assert 0 < metrics["machine/dollars"] < 1
    assert 0 < metrics["machine/hours"] < 1
    titles = [one.title for one in sink.received]
    assert [one for one in titles if one.startswith("Rented: gpu_1x_a10 at $0.75/h")]
    assert [one for one in titles if one.startswith("Given back: gpu_1x_a10, $0.0")]
    assert len(titles) == len(set(titles)), "each once"
    said = (place.home.path / "worker.log").read_text(errors="replace")
    assert KEY not in said


def test_cancelling_ends_the_job_keeps_what_it_saved_and_gives_the_machine_back(
    place: Place, start: Callable[..., str], account: LambdaAccount, recipe: Recipe, base: Path
) -> None:
    long = recipe.stage1.model_copy(update={"max_steps": 20_000, "save_steps": 10})
    worker = place.start_worker()
    try:
        run = start(recipe.model_copy(update={"stage1": long}))
        folder = RunDirectory(place.home.runs / run / "stage1")
        until(lambda: max_step(folder) >= 15, 600)
        record = supervisor.read_json(base / "runs" / run / "stage1" / "supervisor.json")
        began = time.monotonic()
        with place.client() as client:
            client.set_flow_run_state(UUID(run), Cancelling())
        until(lambda: not process_table.members(str(record["token"])), 60)
        assert time.monotonic() - began < 20, "every rank has ended soon"
        until(lambda: not account.living, 120)
        assert place.wait(run, "Cancelled", "Failed", "Completed") == "Cancelled"
        until(lambda: [one.state for one in ledger_of(place.home).of_job(run)] == ["released"], 60)
    finally:
        kill(worker)
    assert list(folder.checkpoints.glob("checkpoint-*")), "what it saved is here"


def test_with_the_worker_gone_for_good_one_sweep_leaves_no_machine(
    place: Place,
    start: Callable[[], str],
    account: LambdaAccount,
    rented: MachineSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = place.start_worker()
    run = start()
    ledger = ledger_of(place.home)
    until(lambda: [one for one in ledger.of_job(run) if one.state == "ready"], 600)
    kill(worker)
    for process in flow_processes(run):
        process.kill()
    until(lambda: watcher_of(lease_folder(place.home, run)).state == "dead", 30)
    assert len(account.living) == 1
    result = swept(place, rented.cloud, monkeypatch, grace_minutes=0)
    assert account.living == []
    assert [one["outcome"] for one in result["rows"] if one["job"] == run] == ["gone"]
    assert [one.state for one in ledger.of_job(run)] == ["released"]


def max_step(run: RunDirectory) -> int:
    time.sleep(0.1)
    return max((event["step"] or 0 for event in run.read_events(0)[0]), default=0)
