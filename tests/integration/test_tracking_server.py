"""A real MLflow server over HTTP: killed in the middle, started again, nothing lost."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cft.home import Home
from cft.tracking import registry
from cft.tracking.mirror import EventMirror
from cft.tracking.run_directory import RunDirectory
from cft.tracking.runs import Tracking
from tests.processes import until

pytestmark = pytest.mark.integration


class Server:
    """An MLflow server that can be killed and started again on the same port and store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "mlflow", "server", "--workers", "1",
                    "--host", "127.0.0.1", "--port", str(self.port),
                    "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
                    "--artifacts-destination", str(self.folder / "artifacts"),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            )  # fmt: skip
        until(self._answers, 120)

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def tracking(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    return Tracking.open(Home(tmp_path / "home"), "over-http")


def test_a_server_that_dies_and_returns(server: Server, tracking: Tracking, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")

    def trained(first: int, last: int) -> None:
        for step in range(first, last):
            run.append_event("metric", step, **{"train/loss": 1 / step})

    with tracking.run("stage1", role="stage1", job="outage") as tracked:
        mirror = EventMirror(tracked.client, tracked.id, run)
        mirror.start(interval=0.2, slowest=0.5)
        trained(1, 11)
        until(lambda: mirror.offset > 0, 20)
        server.kill()
        began = time.monotonic()
        trained(11, 21)
        assert time.monotonic() - began < 1, "the job does not feel the outage"
        time.sleep(1)
        held = mirror.offset
        assert held < run.events.stat().st_size
        server.start()
        trained(21, 31)
        assert mirror.finish(timeout=30) is True
    points = tracking.client.get_metric_history(tracked.id, "train/loss")
    assert [(point.step, point.value) for point in sorted(points, key=lambda p: p.step)] == [
        (step, pytest.approx(1 / step)) for step in range(1, 31)
    ]
    assert tracking.client.get_run(tracked.id).info.status == "FINISHED"


def test_a_model_goes_to_the_servers_own_store(
    server: Server, tracking: Tracking, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    with tracking.run("stage2", role="stage2", job="http") as run:
        uri = registry.log_embedder(
            run, adapter=adapter, backbone=tmp_path / "base", backbone_digest="d"
        )
        made = registry.register(
            tracking.client, uri, "http-embedder", run_id=run.id, job="http", tags={}
        )
    assert made.aliases == ["candidate"]
    assert registry.version_of(tracking.client, "http-embedder", "champion") is None
    assert registry.version_of(tracking.client, "nobody", "champion") is None
    assert list(server.folder.rglob("artifacts/adapter/adapter_config.json"))
    assert not (tmp_path / "home").exists(), "nothing of a remote run lands in the state folder"
