"""A job on a host behind SSH is never lost with a connection, a watcher, a supervisor or a boot."""

import os
import shutil
import signal

import pytest

from tasks.machine import process_table, supervisor
from tests.integration.ssh_place import MARKS, log_of, placed, steps_of, to_the_end, until_steps
from tests.processes import until
from tests.sshd import Sshd, Wire, running

pytestmark = MARKS


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@pytest.fixture
def place(server, tmp_path):
    with placed(server, tmp_path) as place:
        yield place


def test_an_answer_that_is_lost_right_after_the_start(place, monkeypatch) -> None:
    place.go(1)
    machine = place.machine()
    sync, lost = machine._sync, [True, True]
    monkeypatch.setattr(
        machine, "_sync", lambda *asked: None if lost and lost.pop() else sync(*asked)
    )
    machine._seen[str(place.run.path)] = {"state": "failed", "status": {"exit_code": 1}}
    handle = machine.start(place.job())
    record = supervisor.read_json(place.far / "supervisor.json")
    assert (handle.pid, handle.token) == (record["pid"], record["token"])
    assert machine.stop(handle).state == "killed", "what was known of an earlier job is not of this"


def test_the_connection_may_break_at_any_time(place) -> None:
    wire, said = Wire(place.server.port), []
    place.go(1)
    machine = place.machine(wire.port, said=said)
    handle = machine.start(place.job(4))
    until_steps(machine, handle, [1])
    assert place.server.kill_sessions()
    place.go(2)
    until_steps(machine, handle, [1, 2])
    wire.silence()
    place.go(3)
    until(lambda: machine.poll(handle).running and any("no answer" in one for one in said), 240)
    assert steps_of(place.run) == [1, 2]
    wire.resume()
    until_steps(machine, handle, [1, 2, 3])
    assert [one for one in said if "heard again" in one]
    wire.cut()
    place.go(9)
    assert to_the_end(machine, handle).state == "finished"
    assert steps_of(place.run) == [1, 2, 3, 4]
    assert log_of(place.run).count("begins at") == 1
    wire.close()


def test_killed_jobs_and_supervisors(place) -> None:
    place.go(1)
    machine = place.machine()
    handle = machine.start(place.job())
    until_steps(machine, handle, [1])
    os.kill(handle.pid, signal.SIGKILL)
    until(lambda: process_table.start_time(handle.pid) is None, 30)
    assert machine.poll(handle).running, "the job itself goes on"
    process_table.end_all(lambda: process_table.members(handle.token), 0, 5)
    state = to_the_end(machine, handle)
    assert (state.state, state.exit_code) == ("killed", None)
    assert place.run.read_status()["reason"] == "the job and its supervisor vanished"
    # A new start goes on from what is there.
    place.go(9)
    handle = machine.start(place.job())
    assert not handle.attached
    assert to_the_end(machine, handle).state == "finished"
    assert steps_of(place.run) == [1, 2, 3]


def test_a_reboot_is_told_from_a_killed_job(place) -> None:
    place.go(1)
    machine = place.machine()
    handle = machine.start(place.job())
    until_steps(machine, handle, [1])
    os.kill(handle.pid, signal.SIGKILL)
    process_table.end_all(lambda: process_table.members(handle.token), 0, 5)
    record = supervisor.read_json(place.far / "supervisor.json")
    supervisor.write_json(place.far / "supervisor.json", record | {"boot_id": "another"})
    assert to_the_end(machine, handle).state == "killed"
    assert place.run.read_status()["reason"] == "the host rebooted"


def test_a_lost_host_costs_no_more_than_what_is_since_the_last_checkpoint(place) -> None:
    place.go(2)
    machine = place.machine(checkpoint_seconds=0)
    handle = machine.start(place.job(4))
    newest = place.run.checkpoints / "checkpoint-2"
    until(lambda: machine.poll(handle).running and newest.is_dir(), 60)
    # The host is gone with its disk; the next one is empty.
    machine.stop(handle)
    shutil.rmtree(place.base)
    place.go(9)
    (place.far / "go").unlink()
    place.far.rmdir()
    machine = place.machine()
    assert to_the_end(machine, machine.start(place.job(4))).state == "finished"
    assert steps_of(place.run) == [1, 2, 3, 4]
    assert "begins at 2" in (place.far / max(p.name for p in place.far.glob("train-*"))).read_text()
    assert place.run.adapter.is_dir()


def test_what_finished_while_nobody_watched_is_brought_home_and_not_done_again(place) -> None:
    machine, job = place.machine(), place.job(3)
    machine.start(job)
    until(lambda: supervisor.read_json(place.far / "status.json").get("state") == "finished", 60)
    until(
        lambda: (
            not process_table.members(supervisor.read_json(place.far / "supervisor.json")["token"])
        ),
        10,
    )
    later = place.machine()
    handle = later.start(job)
    assert handle.attached
    assert later.poll(handle).state == "finished"
    assert (place.run.adapter / "weights").stat().st_size == 300_000
    assert steps_of(place.run) == [1, 2, 3]
    assert log_of(place.run).count("begins at") == 1
