"""Pushes of runs whose process cannot tell: killed or cancelled under a real worker.

There the hooks run in a process of their own that the worker starts, and all that they tell is
read from disk and from the servers.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

from cft.home import Home
from tasks.machine import process_table, supervisor
from tasks.machine.jobs import living_jobs, stop_jobs
from tests.integration.pushed_flows import waits
from tests.ntfy import Sink, serve_ntfy
from tests.processes import until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
POOL, TOPIC, TOKEN = "pushes", "cft-worker-4711", "tk_worker0815"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with serve_ntfy() as sink:
        sink.token = TOKEN
        yield sink


@pytest.fixture(scope="module")
def log(home: Home, sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a worker of the pool prints; its environment is that of the runs and their hooks."""
    environment = os.environ | {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONPATH": str(ROOT),
        "CFT_NTFY_URL": sink.url,
        "CFT_NTFY_TOPIC": TOPIC,
        "CFT_NTFY_TOKEN": TOKEN,
    }
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    path = tmp_path_factory.mktemp("worker") / "worker.log"
    with path.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=path.parent,
            start_new_session=True,
        )
    yield path
    family = psutil.Process(worker.pid).children(recursive=True)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    for one in family:
        if one.is_running():
            one.kill()
    for job in living_jobs(home):
        stop_jobs(home, job.flow_run_id)


def started(home: Home, title: str) -> tuple[str, int]:
    """Run the waiting flow by its deployment; its id and its pid, once its job is at work."""
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            flow_id=client.create_flow(waits),
            name="waits",
            entrypoint="tests.integration.pushed_flows.waits",
            work_pool_name=POOL,
            pull_steps=[
                {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
            ],
            job_variables={"stream_output": False},
            enforce_parameter_schema=False,
        )
        run = client.create_flow_run_from_deployment(deployment, parameters={"title": title})
    pid = home.runs / str(run.id) / "pid"
    until(pid.exists, 180)
    return str(run.id), int(pid.read_text(encoding="utf-8"))


def job_of(home: Home, flow_run_id: str) -> set[int]:
    record = home.runs / flow_run_id / "stage1" / "supervisor.json"
    return process_table.members(supervisor.read_json(record)["token"])


def test_a_process_that_is_killed(home: Home, sink: Sink, log: Path) -> None:
    flow_run_id, pid = started(home, "killed")
    os.kill(pid, signal.SIGKILL)
    got = sink.wait_for("waits crashed: killed", 120)
    assert (got.priority, got.topic) == (5, TOPIC)
    first, reason, note = got.message.splitlines()
    assert first.endswith(" s")
    assert "-9" in reason
    assert note == "Its training goes on unwatched; retry the run to take it up."
    assert got.click is not None
    assert got.click.endswith(f"/runs/flow-run/{flow_run_id}")
    assert job_of(home, flow_run_id), "a crash spares the job"


def test_a_run_that_is_cancelled_in_the_ui(home: Home, sink: Sink, log: Path) -> None:
    flow_run_id, pid = started(home, "cancelled")
    members = job_of(home, flow_run_id)
    assert members
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(flow_run_id), Cancelling())
        got = sink.wait_for("waits cancelled: cancelled", 120)
        until(lambda: client.read_flow_run(UUID(flow_run_id)).state.name == "Cancelled", 60)
    assert (got.priority, set(got.tags)) == (3, {"no_entry", "cft", "waits"})
    assert got.message.splitlines()[0].endswith(", signal 15")
    assert job_of(home, flow_run_id) == set(), "a cancellation ends the job"
    assert not psutil.pid_exists(pid)
    assert len(sink.received) == len({one.title for one in sink.received}) == 2
    said = log.read_text(encoding="utf-8")
    assert TOPIC not in said
    assert TOKEN not in said
