"""A Prefect server and workers as processes of their own, to be killed and started again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled

from cft.home import Home
from flows.environment import environment_of
from tests.conftest import ROOT
from tests.integration.migrated import NAME, migrated
from tests.integration.server import free_port
from tests.integration.speaking import speaking_to
from tests.processes import until

POOL = "cpu"


class Place:
    """A state folder, a server and whatever workers a test has started."""

    def __init__(self, home: Home, more: Mapping[str, str] | None = None) -> None:
        self.home, self.port = home, free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        hidden = ("PREFECT_", "MLFLOW_")
        self.environment = (
            {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
            | environment_of(home)
            | {
                "PREFECT_API_URL": self.url,
                "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
                "PREFECT_WORKER_QUERY_SECONDS": "1",
                "PYTHONPATH": str(ROOT),
            }
            | (more or {})
        )
        self.server: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_server(self) -> None:
        if not (self.home.prefect / NAME).exists():
            migrated(self.home.prefect)
        self.server = self._start(
            "server", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)
        )
        until(self._healthy, 180)

    def kill_server(self) -> None:
        if self.server is not None:
            kill(self.server)
            self.server = None

    def start_worker(self) -> "subprocess.Popen[bytes]":
        worker = self._start(
            "worker", "worker", "start", "--pool", POOL, "--type", "process", "--name", "tests"
        )
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        """Kill whatever is left, the flow runs' own processes too."""
        for worker in self.workers:
            kill(worker)
        self.kill_server()
        for process in flow_processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.environ().get("CFT_HOME") == str(self.home.path):
                    process.kill()

    def _start(self, name: str, *words: str) -> "subprocess.Popen[bytes]":
        self.home.path.mkdir(parents=True, exist_ok=True)
        with (self.home.path / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "prefect", *words],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @contextlib.contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        with speaking_to(self.url), get_client(sync_client=True) as client:
            yield client

    def deploy(self, flow: Flow[..., Any]) -> UUID:
        """A flow on a process pool, as `cft deploy` sets it up."""
        with self.client() as client:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
            return client.create_deployment(
                client.create_flow(flow),
                "killed",
                entrypoint=f"{flow.fn.__module__}.{flow.fn.__name__}",
                work_pool_name=POOL,
                tags=["cft"],
                pull_steps=[
                    {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
                ],
                job_variables={"stream_output": False},
            )

    def trigger(self, deployment: UUID, parameters: dict[str, Any]) -> str:
        with self.client() as client:
            run = client.create_flow_run_from_deployment(deployment, parameters=parameters)
            return str(run.id)

    def read(self, flow_run: str) -> FlowRun:
        with self.client() as client:
            return client.read_flow_run(UUID(flow_run))

    def retry(self, flow_run: str) -> None:
        """What Retry in the UI does."""
        with self.client() as client:
            client.set_flow_run_state(UUID(flow_run), Scheduled(), force=True)

    def reconcile(self, patch: pytest.MonkeyPatch) -> dict[str, Any]:
        """One pass of the janitor, without the patience that it has with workers and hooks."""
        from flows.forms_reconcile import ReconcileSettings
        from flows.reconcile import reconcile

        with patch.context() as inner, speaking_to(self.url):
            inner.setenv("CFT_HOME", str(self.home.path))
            inner.setenv("MLFLOW_TRACKING_URI", self.home.local_tracking_uri)
            return reconcile(ReconcileSettings(grace_seconds=0))

    def over(self, flow_run: str, patch: pytest.MonkeyPatch) -> bool:
        """Whether the run has ended; one that could not tell its end to a dead server is mended."""
        time.sleep(1)
        state = self.read(flow_run).state
        assert state is not None
        if (state.is_running() or state.is_crashed()) and not flow_processes(flow_run):
            self.reconcile(patch)
        return state.name in ("Completed", "Failed")

    def wait(self, flow_run: str, *names: str, seconds: float = 900) -> str:
        """Wait until the run's state has one of these names."""

        with self.client() as client:  # a new one for every question takes a tenth of a core

            def reached() -> str | None:
                time.sleep(0.5)  # the server has two cores to share with what is tested
                state = client.read_flow_run(UUID(flow_run)).state
                return state.name if state is not None and state.name in names else None

            return str(until(reached, seconds))


def flow_processes(flow_run: str | None = None) -> list[psutil.Process]:
    """Processes of a flow run (or of any) that a worker started; its job is none of them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            mine = process.environ().get("PREFECT__FLOW_RUN_ID")
            if mine and (flow_run is None or mine == flow_run):
                found.append(process)
    return found


def kill(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL to a process and its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(path: Path, size: int = 3000) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-size:] if path.exists() else ""
