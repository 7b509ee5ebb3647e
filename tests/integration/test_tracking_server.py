"""A real MLflow server over HTTP: killed in the middle, down at first, nothing lost or twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cft.home import Home
from cft.tracking import registry
from cft.tracking.catch_up import ClosedRun, catch_up, close_orphans, open_jobs
from cft.tracking.journal import Journal
from cft.tracking.run_directory import RunDirectory
from cft.tracking.runs import Tracking
from tests.integration.mlflow_server import HASTY, MlflowServer
from tests.processes import until
from tests.tracked import require_everything, say_everything

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def home(server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name, value in HASTY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    return Home(tmp_path / "home")


@pytest.fixture
def tracking(server: MlflowServer, home: Home) -> Tracking:
    server.start()
    return Tracking.open(home, "over-http", patience=60)


def test_a_server_that_dies_and_returns(
    server: MlflowServer, tracking: Tracking, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")

    def trained(first: int, last: int) -> None:
        for step in range(first, last):
            run.append_event("metric", step, **{"train/loss": 1 / step})

    with tracking.run("stage1", role="stage1", job="outage") as tracked:
        tracked.follow(run)
        trained(1, 11)
        until(lambda: (run.path / "mirror.json").exists(), 60)
        server.kill()
        began = time.monotonic()
        trained(11, 21)
        tracked.tags({"while": "down"})
        assert time.monotonic() - began < 10, "the job does not feel the outage"
        server.start()
        trained(21, 31)
    points = tracking.client.get_metric_history(tracked.id, "train/loss")
    assert [(point.step, point.value) for point in sorted(points, key=lambda p: p.step)] == [
        (step, pytest.approx(1 / step)) for step in range(1, 31)
    ]
    found = tracking.client.get_run(tracked.id)
    assert (found.info.status, found.data.tags["while"]) == ("FINISHED", "down")


def test_a_server_that_is_down_until_all_is_over(
    server: MlflowServer, home: Home, tmp_path: Path
) -> None:
    server.kill()
    hasty = Tracking.open(home, "over-http", patience=1)
    began = time.monotonic()
    parent = say_everything(hasty, "late", tmp_path / "out")
    assert time.monotonic() - began < 20
    assert parent.pending
    assert parent.id is None
    ended = time.time()
    server.start()
    # The process that said it may be gone: another one sends it, and again there is nothing to do.
    until(lambda: all(not one.kept for one in catch_up(home)), 60)
    assert catch_up(home) == []
    require_everything(hasty, "late")
    info = hasty.client.get_run(parent.id).info
    assert info.end_time / 1000 < ended, "it ended when it ended, not when the server heard of it"
    assert open_jobs(home) == set()


SAYER = """
import sys, time
from pathlib import Path
from cft.home import Home
from cft.tracking.runs import Tracking
with Tracking.open(Home(Path(sys.argv[1])), "over-http").run("r", role="a", job="cut") as run:
    for number in range(60):
        run.text(str(number), f"texts/{number}.txt")
        run.metrics({"count": number}, number)
    time.sleep(600)
"""


def test_sigkill_in_the_middle_of_the_journal(home: Home, tracking: Tracking) -> None:
    process = subprocess.Popen([sys.executable, "-c", SAYER, str(home.path)], env=dict(os.environ))
    journal = Journal.of(home, "cut", tracking.uri)
    try:
        until(lambda: journal.state().offset > 2000, 120)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    said, behind = len(journal.read()), journal.behind(journal.state())
    assert 0 < behind < said
    (done,) = catch_up(home)
    assert (done.job, done.operations, done.kept) == ("cut", behind, 0)
    run_id, experiment = journal.state().runs["a"]
    (run,) = tracking.client.search_runs([experiment], "tags.`cft.job` = 'cut'")
    assert (run.info.run_id, run.info.status) == (run_id, "RUNNING"), "nobody has said its end"
    texts = {one.path for one in tracking.client.list_artifacts(run_id, "texts")}
    points = [point.step for point in tracking.client.get_metric_history(run_id, "count")]
    assert sorted(points) == list(range(len(points)))
    assert said == 1 + len(texts) + len(points)
    assert close_orphans(home, {"cut": "KILLED"}) == [ClosedRun("cut", "a", "KILLED")]
    assert tracking.client.get_run(run_id).info.status == "KILLED"


def test_a_model_goes_to_the_servers_own_store(
    server: MlflowServer, tracking: Tracking, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    with tracking.run("stage2", role="stage2", job="http") as run:
        run.model(adapter=adapter, backbone=tmp_path / "base", backbone_digest="d")
        run.register("http-embedder", tags={})
    made = registry.version_of(tracking.client, "http-embedder", "candidate")
    assert made is not None
    assert (made.version, made.source, made.run_id) == (run.version, run.model_uri, run.id)
    assert registry.version_of(tracking.client, "http-embedder", "champion") is None
    assert registry.version_of(tracking.client, "nobody", "champion") is None
    assert list(server.folder.rglob("artifacts/adapter/adapter_config.json"))
    assert not (tmp_path / "home" / "mlflow").exists(), "nothing of it lands in the state folder"
