"""Jobs on this machine: attach, survive the watcher, stop the whole tree."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from cft.errors import CftError
from tasks.machine import process_table, supervisor
from tasks.machine.job import Job
from tasks.machine.local import LocalMachine
from tests.processes import LAUNCHER, until, worker_of


@pytest.fixture
def machine(tmp_path: Path):
    """A machine whose jobs end with the test, however it ended."""
    machine = LocalMachine(grace=1.0)
    yield machine
    for record in tmp_path.rglob("supervisor.json"):
        token = supervisor.read_json(record).get("token", "")
        process_table.end_all(lambda token=token: process_table.members(token), 1.0)


def sleeper(run: Path) -> Job:
    return Job(run, [sys.executable, "-c", LAUNCHER])


def ended(machine, handle):
    return until(lambda: not machine.poll(handle).running) and machine.poll(handle)


def test_a_job_runs_to_its_end(machine, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET", "tell nobody")
    code = "import os; assert 'SECRET' not in os.environ; print(os.environ['COLOUR'])"
    environment = {"COLOUR": "saffron", "SECRET": None}
    handle = machine.start(Job(tmp_path, [sys.executable, "-c", code], environment))
    state = ended(machine, handle)
    assert (state.state, state.exit_code, str(state)) == (
        "finished",
        0,
        "finished with exit code 0",
    )
    assert next(tmp_path.glob("train-*.log")).read_text() == "saffron\n"


def test_a_python_that_trusts_no_folder_runs_it_as_well(
    machine, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    handle = machine.start(Job(tmp_path, [sys.executable, "-c", "print('here')"]))
    assert ended(machine, handle).state == "finished"


def test_stop_leaves_nothing(machine, tmp_path: Path) -> None:
    handle = machine.start(sleeper(tmp_path))
    worker = worker_of(tmp_path)
    assert machine.poll(handle).running
    assert machine.stop(handle).state == "killed"
    assert process_table.start_time(worker) is None
    assert process_table.members(handle.token) == set()
    assert machine.stop(handle).state == "killed", "stopping twice is harmless"


def test_a_second_start_attaches(machine, tmp_path: Path) -> None:
    first = machine.start(sleeper(tmp_path))
    second = machine.start(sleeper(tmp_path))
    assert (second.pid, second.token, second.attached) == (first.pid, first.token, True)
    assert not first.attached
    assert json.loads(json.dumps(first.to_json()))["token"] == first.token
    machine.stop(second)
    assert machine.find(tmp_path) is None
    third = machine.start(sleeper(tmp_path))
    assert third.token != first.token
    machine.stop(third)


def test_starts_at_the_same_moment_run_one_job(machine, tmp_path: Path) -> None:
    handles = []
    threads = [
        threading.Thread(target=lambda: handles.append(machine.start(sleeper(tmp_path))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({handle.token for handle in handles}) == 1
    assert sum(not handle.attached for handle in handles) == 1
    assert len(list(tmp_path.glob("train-*.log"))) == 1
    machine.stop(handles[0])


def test_the_job_outlives_its_watcher_which_finds_it_again(machine, tmp_path: Path) -> None:
    run = tmp_path / "run"
    watcher = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from tasks.machine.job import Job
        from tasks.machine.local import LocalMachine
        LocalMachine().start(Job(Path({str(run)!r}), [sys.executable, "-c", {LAUNCHER!r}]))
        time.sleep(600)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", watcher], start_new_session=True)
    worker = worker_of_later(run)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    handle = machine.start(sleeper(run))
    assert handle.attached
    assert machine.poll(handle).running
    machine.stop(handle)
    assert process_table.start_time(worker) is None


def worker_of_later(run: Path) -> int:
    until(lambda: list(run.glob("train-*.log")), 20)
    return worker_of(run)


def test_a_killed_supervisor_does_not_hide_its_job(machine, tmp_path: Path) -> None:
    handle = machine.start(sleeper(tmp_path))
    worker = worker_of(tmp_path)
    os.kill(handle.pid, signal.SIGKILL)
    until(lambda: process_table.start_time(handle.pid) is None)
    assert machine.poll(handle).running
    assert machine.start(sleeper(tmp_path)).attached, "it must not run twice"
    state = machine.stop(handle)
    assert state.state == "killed"
    assert process_table.start_time(worker) is None


def test_a_job_that_vanished_with_its_supervisor_is_killed(machine, tmp_path: Path) -> None:
    handle = machine.start(sleeper(tmp_path))
    worker_of(tmp_path)
    for pid in [handle.pid, *process_table.members(handle.token)]:
        os.kill(pid, signal.SIGKILL)
    assert ended(machine, handle).state == "killed"
    status = json.loads((tmp_path / "status.json").read_text())
    assert "vanished" in status["reason"]


def test_a_reused_pid_is_not_taken_for_the_job(machine, tmp_path: Path) -> None:
    record = {"pid": os.getpid(), "start": "1", "token": "t", "boot_id": process_table.boot_id()}
    (tmp_path / "supervisor.json").write_text(json.dumps(record))
    assert machine.find(tmp_path) is None
    mine = process_table.start_time(os.getpid())
    (tmp_path / "supervisor.json").write_text(json.dumps(record | {"start": mine}))
    assert machine.find(tmp_path) is not None
    other_boot = record | {"start": mine, "boot_id": "another"}
    (tmp_path / "supervisor.json").write_text(json.dumps(other_boot))
    assert machine.find(tmp_path) is None


def test_a_foreign_record_is_named(machine, tmp_path: Path) -> None:
    (tmp_path / "supervisor.json").write_text('{"hello": 1}')
    with pytest.raises(CftError, match=r"supervisor\.json: not a supervisor's record"):
        machine.start(sleeper(tmp_path))
