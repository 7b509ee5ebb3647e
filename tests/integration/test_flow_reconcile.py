"""Runs that nobody watches, as a real Prefect server and real processes show them, mended."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    WorkPoolCreate,
)
from prefect.events import emit_event
from prefect.states import Cancelled, Crashed, Running, State

from cft.home import Home
from cft.tracking.runs import Tracking
from flows.forms_reconcile import ReconcileSettings
from flows.reconcile import reconcile
from tasks.machine import process_table, supervisor
from tasks.machine.hire import lease_folder
from tasks.machine.job import Job
from tasks.machine.jobs import living_jobs, stop_jobs
from tasks.machine.local import LocalMachine
from tasks.machine.watcher import LOCK, RECORD, watching
from tasks.reconcile.observe import HEARTBEAT, last_heartbeat
from tests.far import far_run
from tests.processes import LAUNCHER, until, worker_of
from tests.sshd import Sshd, needs_sshd, running

pytestmark = pytest.mark.integration

NOW = ReconcileSettings(grace_seconds=0, stale_minutes=0.1)


@flow(name="watched")
def some_flow() -> None:
    """Stands for any flow: nobody runs it here."""


@pytest.fixture
def client(home: Home) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client
    for job in living_jobs(home):
        stop_jobs(home, job.flow_run_id, grace=0.0)


@pytest.fixture
def deployment(client: SyncPrefectClient) -> UUID:
    """One that no worker serves: what is scheduled stays so."""
    client.create_work_pool(WorkPoolCreate(name="nobody", type="process"), overwrite=True)
    return client.create_deployment(
        client.create_flow(some_flow), "reconciled", work_pool_name="nobody", tags=["cft"]
    )


def begun(client: SyncPrefectClient, deployment: UUID | None, state: State) -> str:
    """A flow run that has begun, and is in a state by now."""
    if deployment is None:
        run = client.create_flow_run(some_flow, state=Running())
    else:
        run = client.create_flow_run_from_deployment(deployment)
        client.set_flow_run_state(run.id, Running(), force=True)
    if not state.is_running():
        client.set_flow_run_state(run.id, state, force=True)
    return str(run.id)


def sleeping_job(home: Home, run: str) -> Path:
    folder = home.runs / run / "stage1"
    LocalMachine(1.0).start(Job(folder, [sys.executable, "-c", LAUNCHER]))
    worker_of(folder)
    return folder


def killed_watcher(folder: Path) -> None:
    """What a watcher leaves that was killed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOCK).touch()
    supervisor.write_json(folder / RECORD, {"pid": 1, "host": "here", "since": time.time()})


def tracked(home: Home, run: str) -> str:
    """An MLflow run that is RUNNING for ever, as one whose process was killed."""
    tracking = Tracking.open(home, "reconciled")
    tags = {"cft.job": run, "cft.role": "two-stage"}
    return str(tracking.client.create_run(tracking.experiment_id, tags=tags).info.run_id)


def state_of(client: SyncPrefectClient, run: str) -> str:
    state = client.read_flow_run(UUID(run)).state
    assert state is not None
    return state.name


def status_of(home: Home, run_id: str) -> str:
    return str(Tracking.open(home, "reconciled").client.get_run(run_id).info.status)


def done(result: dict, run: str) -> list[tuple[str, bool]]:
    return [(one["kind"], one["done"]) for one in result["actions"] if one["subject"] == run]


def test_a_dead_run_whose_job_lives_is_marked_and_taken_up(
    home: Home, client: SyncPrefectClient, deployment: UUID
) -> None:
    run = begun(client, deployment, Running())
    folder = sleeping_job(home, run)
    killed_watcher(folder)

    dry = reconcile(NOW.model_copy(update={"dry_run": True}))
    assert done(dry, run) == [("crash", False), ("retry", False)]
    assert "dry run" in dry["page"]
    assert state_of(client, run) == "Running", "a dry run mends nothing"

    result = reconcile(NOW)
    assert done(result, run) == [("crash", True), ("retry", True)]
    assert "its process on this host is gone" in result["page"]
    assert state_of(client, run) == "AwaitingRetry"
    assert [job.flow_run_id for job in living_jobs(home)] == [run], "its job goes on"
    assert done(reconcile(NOW), run) == [], "once is enough"


def test_a_run_that_is_watched_is_left_alone(
    home: Home, client: SyncPrefectClient, deployment: UUID
) -> None:
    run = begun(client, deployment, Running())
    folder = sleeping_job(home, run)
    with watching(folder):
        time.sleep(7)  # longer than stale_minutes, and without any heartbeat
        assert done(reconcile(NOW), run) == []
    assert state_of(client, run) == "Running"


def test_a_heartbeat_keeps_a_run(home: Home, client: SyncPrefectClient, deployment: UUID) -> None:
    run = UUID(begun(client, deployment, Running()))
    time.sleep(7)
    emit_event(HEARTBEAT, {"prefect.resource.id": f"prefect.flow-run.{run}"})
    until(lambda: last_heartbeat(client, run), 30)
    assert done(reconcile(NOW), str(run)) == []
    assert state_of(client, str(run)) == "Running"


def test_a_silent_run_without_a_job_is_marked_and_its_tracking_closed(
    home: Home, client: SyncPrefectClient, deployment: UUID
) -> None:
    run = begun(client, deployment, Running())
    row = tracked(home, run)
    time.sleep(7)
    assert status_of(home, row) == "RUNNING"
    assert done(reconcile(NOW), run) == [("crash", True)]
    assert state_of(client, run) == "Crashed"
    assert status_of(home, row) == "KILLED"


def test_a_cancelled_run_loses_its_job(
    home: Home, client: SyncPrefectClient, deployment: UUID
) -> None:
    run = begun(client, deployment, Cancelled())
    folder, row = sleeping_job(home, run), tracked(home, run)
    token = supervisor.read_json(folder / "supervisor.json")["token"]
    result = reconcile(NOW)
    assert done(result, run) == [("stop", True)]
    assert process_table.members(token) == set()
    assert status_of(home, row) == "KILLED"
    assert any(run in line for line in result["tracking"])


def test_a_crashed_run_of_a_terminal_is_left_to_its_person(
    home: Home, client: SyncPrefectClient
) -> None:
    run = begun(client, None, Crashed())
    sleeping_job(home, run)
    assert done(reconcile(NOW), run) == [], "no worker could take it up"
    assert state_of(client, run) == "Crashed"


def test_a_job_of_an_unknown_run_is_named(home: Home, client: SyncPrefectClient) -> None:
    stranger = str(uuid4())
    sleeping_job(home, stranger)
    result = reconcile(NOW)
    assert any(stranger in note for note in result["notes"])
    assert [job.flow_run_id for job in living_jobs(home)] == [stranger]


def test_a_slot_that_nobody_can_hold_is_given_back(home: Home, client: SyncPrefectClient) -> None:
    name = "cft-reconciled"
    client.create_global_concurrency_limit(
        GlobalConcurrencyLimitCreate(name=name, limit=1, active_slots=0)
    )
    # A server that is started again forgets the lease, and keeps the slot.
    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=1))
    assert done(reconcile(NOW), name) == [], "a lease may still be behind it"
    time.sleep(7)
    assert done(reconcile(NOW), name) == [("free", True)]
    assert client.read_global_concurrency_limit_by_name(name).active_slots == 0


def test_one_action_that_fails_does_not_stop_the_others(
    home: Home, client: SyncPrefectClient, deployment: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (begun(client, deployment, Running()) for _ in range(2))
    for run in (first, second):
        killed_watcher(sleeping_job(home, run))
    # The first one's job ends in the last moment, and its run is told to be over.
    asked = SyncPrefectClient.set_flow_run_state

    def refuse(self, flow_run_id, *arguments, **named):
        if str(flow_run_id) == first:
            raise RuntimeError("the server has a bad moment")
        return asked(self, flow_run_id, *arguments, **named)

    monkeypatch.setattr(SyncPrefectClient, "set_flow_run_state", refuse)
    result = reconcile(NOW)
    monkeypatch.undo()
    assert done(result, first) == [("crash", False), ("retry", False)]
    assert done(result, second) == [("crash", True), ("retry", True)]
    assert any("bad moment" in line for line in result["failures"])
    assert done(reconcile(NOW), first) == [("crash", True), ("retry", True)], "the next pass"


def test_a_job_lost_with_its_host_is_taken_up(
    home: Home, client: SyncPrefectClient, deployment: UUID
) -> None:
    run = begun(client, deployment, Running())
    folder = sleeping_job(home, run)
    record = supervisor.read_json(folder / "supervisor.json")
    for pid in [record["pid"], *process_table.members(record["token"])]:
        os.kill(pid, signal.SIGKILL)
    killed_watcher(folder)
    until(lambda: not living_jobs(home))
    assert done(reconcile(NOW), run) == [("crash", True), ("retry", True)]
    assert state_of(client, run) == "AwaitingRetry"


@needs_sshd
def test_a_job_on_another_host_is_taken_up_and_stopped_as_one_of_this_host(
    home: Home,
    client: SyncPrefectClient,
    deployment: UUID,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = begun(client, deployment, Running())
    with running(Sshd(tmp_path / "sshd")) as server, far_run(server, tmp_path, home, run) as far:
        handle = far.start(far.lease())
        with watching(lease_folder(home, run)):
            assert done(reconcile(NOW), run) == [], "its machine is held"
        killed_watcher(lease_folder(home, run))
        result = reconcile(NOW)
        assert done(result, run) == [("crash", True), ("retry", True)]
        assert "its job lives and nobody watches it" in result["page"]
        assert process_table.start_time(far.child) is not None, "its job goes on"

        client.set_flow_run_state(UUID(run), Cancelled(), force=True)
        far.lease(port=1)
        with monkeypatch.context() as patch:
            patch.setattr("tasks.reconcile.mend.HOST_SECONDS", 1.0)
            assert done(reconcile(NOW), run) == [("stop", False)], "its host is away"
        far.lease()
        assert done(reconcile(NOW), run) == [("stop", True)], "the next pass"
        assert process_table.members(handle.token) == set()
        assert far.run.read_status()["state"] == "killed"
        assert done(reconcile(NOW), run) == [], "once is enough"
