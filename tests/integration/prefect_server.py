"""A Prefect server and workers as processes of their own, as a person would run them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from tests.integration.migrated import migrated
from tests.integration.server import free_port, serving
from tests.integration.speaking import speaking_to

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class PrefectServer:
    """A server with a state folder of its own."""

    api: str
    folder: Path
    env: dict[str, str]

    @contextlib.contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """This process speaks to the server while the block runs."""
        with speaking_to(self.api), get_client(sync_client=True) as one:
            yield one

    def start(self, name: str, **parameters: Any) -> FlowRun:
        """A run of a deployment, as the UI makes it."""
        with self.client() as client:
            deployment = client.read_deployment_by_name(name)
            return client.create_flow_run_from_deployment(deployment.id, parameters=parameters)

    def scheduled(self, deployment: UUID, seconds: float = 120) -> FlowRun:
        """The first run that a schedule of the deployment has made."""
        chosen = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self.client() as client:
                found = client.read_flow_runs(
                    flow_run_filter=chosen, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=1
                )
            if found:
                return found[0]
            time.sleep(1)
        raise AssertionError(f"{deployment}: its schedule made no run in {seconds} s")

    def wait_for(
        self, run: UUID, reached: Callable[[FlowRun], bool], seconds: float = 300
    ) -> FlowRun:
        """The run, once ``reached`` holds for it."""
        deadline = time.monotonic() + seconds
        found: FlowRun | None = None
        with self.client() as client:
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx.TimeoutException):  # a server under load
                    found = client.read_flow_run(run)
                    if reached(found):
                        return found
                time.sleep(1)
        raise AssertionError(f"{run}: still {found.state if found else 'unknown'}")


@contextlib.contextmanager
def prefect_server(folder: Path) -> Iterator[PrefectServer]:
    """A server with an empty database, until the block ends."""
    migrated(folder / "server")
    port = free_port()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "MLFLOW_", "CFT_"))
    }
    api = f"http://127.0.0.1:{port}/api"
    env = kept | {
        "PREFECT_HOME": str(folder / "server"),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]),
    }
    command = f"exec {BIN / 'prefect'} server start --port {port}"
    with serving(command, folder, env, f"{api}/health"):
        yield PrefectServer(api, folder, env)


@contextlib.contextmanager
def worker(server: PrefectServer, pool: str) -> Iterator[psutil.Process]:
    """A process worker; nothing of it is left when the block ends."""
    log = (server.folder / f"worker-{pool}.log").open("ab")
    command = [str(BIN / "prefect"), "worker", "start", "--pool", pool, "--type", "process"]
    # Not the root: what a run finds must not depend on where the worker was started.
    process = subprocess.Popen(
        command, cwd=server.folder, env=server.env, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        kill_tree(process.pid)
        process.wait()
        log.close()


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all below it, as the loss of a host would."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        root.send_signal(signal.SIGSTOP)  # nobody may notice the death of another
        family = root.children(recursive=True)
        for one in [root, *family]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(family, 10)
