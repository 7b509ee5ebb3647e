"""A slot that one job has at a time: real jobs, a file in place of a GPU."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from cft.tracking.run_directory import RunDirectory
from tasks.machine import process_table, supervisor
from tasks.machine.job import Handle, Job
from tasks.machine.local import LocalMachine
from tasks.watch import Watch
from tests.processes import LAUNCHER, until, worker_of

# A launcher whose worker does not listen to TERM, as one that sits in a driver.
DEAF = LAUNCHER.replace(
    '"import time; time.sleep(600)"',
    '"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"',
)


@pytest.fixture
def machine(tmp_path: Path):
    machine = LocalMachine(grace=1.0)
    yield machine
    for record in tmp_path.rglob("supervisor.json"):
        known = supervisor.read_json(record)
        token, pid = known.get("token", ""), int(known.get("pid") or 0)
        if process_table.start_time(pid) == known.get("start"):
            os.kill(pid, signal.SIGKILL)
        process_table.end_all(lambda token=token: process_table.members(token), 0.0)


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    return tmp_path / "slots" / "gpu.lock"


def short(run: Path, slot: Path) -> Job:
    return Job(run, [sys.executable, "-c", "print('had its turn')"], slot=slot)


def sleeper(run: Path, slot: Path, code: str = LAUNCHER) -> Job:
    return Job(run, [sys.executable, "-c", code], slot=slot)


def stays_waiting(machine: LocalMachine, handle: Handle, seconds: float = 1.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if machine.poll(handle).state != "waiting":
            return False
        time.sleep(0.05)
    return True


def test_the_second_waits_for_the_first_and_then_runs(machine, tmp_path: Path, slot: Path) -> None:
    first = machine.start(sleeper(tmp_path / "first", slot))
    worker_of(tmp_path / "first")
    assert machine.poll(first).state == "running"
    second = machine.start(short(tmp_path / "second", slot))
    assert not second.attached
    state = machine.poll(second)
    assert (state.state, state.running, state.waits_for) == (
        "waiting",
        True,
        str(tmp_path / "first"),
    )
    assert stays_waiting(machine, second)
    assert machine.start(short(tmp_path / "second", slot)).token == second.token, "it attaches"
    machine.stop(first)
    until(lambda: not machine.poll(second).running)
    assert machine.poll(second).state == "finished"
    (log,) = (tmp_path / "second").glob("train-*.log")
    assert log.read_text() == "had its turn\n"
    status = supervisor.read_json(tmp_path / "second" / "status.json")
    assert status["started"] >= supervisor.read_json(tmp_path / "first" / "status.json")["ended"]


def test_other_slots_are_free(machine, tmp_path: Path, slot: Path) -> None:
    machine.start(sleeper(tmp_path / "first", slot))
    worker_of(tmp_path / "first")
    other = machine.start(short(tmp_path / "second", slot.with_name("other.lock")))
    until(lambda: machine.poll(other).state == "finished")


def test_one_that_waits_can_be_stopped(machine, tmp_path: Path, slot: Path) -> None:
    first = machine.start(sleeper(tmp_path / "first", slot))
    worker_of(tmp_path / "first")
    second = machine.start(short(tmp_path / "second", slot))
    began = time.monotonic()
    assert machine.stop(second).state == "killed"
    assert time.monotonic() - began < 8
    assert process_table.start_time(second.pid) is None
    assert machine.poll(first).state == "running"


def test_a_killed_holder_frees_the_slot_when_its_job_is_gone_and_not_before(
    machine, tmp_path: Path, slot: Path
) -> None:
    first = machine.start(sleeper(tmp_path / "first", slot, DEAF))
    worker = worker_of(tmp_path / "first")
    launcher = supervisor.read_json(tmp_path / "first" / "supervisor.json")["child_pid"]
    second = machine.start(short(tmp_path / "second", slot))
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: process_table.start_time(first.pid) is None)
    assert stays_waiting(machine, second), "the launcher has inherited the lock"
    os.kill(launcher, signal.SIGKILL)
    until(lambda: process_table.start_time(launcher) is None)
    assert process_table.start_time(worker) is not None
    assert stays_waiting(machine, second), "a rank is still on the device"
    os.kill(worker, signal.SIGKILL)
    until(lambda: machine.poll(second).state == "finished")


def test_two_that_wait_run_one_after_the_other(machine, tmp_path: Path, slot: Path) -> None:
    first = machine.start(sleeper(tmp_path / "first", slot))
    worker_of(tmp_path / "first")
    code = "import time; time.sleep(0.5)"
    runs = [tmp_path / "second", tmp_path / "third"]
    handles = [machine.start(Job(run, [sys.executable, "-c", code], slot=slot)) for run in runs]
    machine.stop(first)
    until(lambda: not any(machine.poll(handle).running for handle in handles))
    one, other = sorted(
        (supervisor.read_json(run / "status.json") for run in runs),
        key=lambda status: status["started"],
    )
    assert one["ended"] <= other["started"] + 0.05


def test_a_watch_says_what_it_waits_for_and_does_not_lose_patience(
    machine, tmp_path: Path, slot: Path
) -> None:
    first = machine.start(sleeper(tmp_path / "first", slot))
    worker_of(tmp_path / "first")
    second = machine.start(short(tmp_path / "second", slot))
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("waits"):
            threading.Timer(2.0, machine.stop, [first]).start()

    state = Watch(
        machine,
        second,
        RunDirectory(tmp_path / "second"),
        1,
        say,
        lambda _: None,
        deadline=30,
        stall=1.5,
        interval=0.02,
    ).until_done()
    assert state.state == "finished"
    assert said == [f"waits for the slot that {tmp_path / 'first'} has", "had its turn"]
