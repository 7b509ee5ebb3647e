"""A job on a host behind SSH is never lost with a connection, a watcher, a supervisor or a boot."""

import dataclasses
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from cft.errors import CftError
from tasks.machine import mirroring, process_table, results, supervisor
from tasks.watch import Watch
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


def test_the_connection_may_break_at_any_time(place, monkeypatch) -> None:
    monkeypatch.setattr(mirroring, "ANSWER_SECONDS", 5.0)
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


def test_a_retry_takes_up_what_a_killed_supervisor_left(place) -> None:
    """Neither a second training beside it nor one that waits for its own slot."""
    place.go(1)
    job = dataclasses.replace(place.job(), slot=Path("gpu.lock"))
    machine = place.machine()
    first = machine.start(job)
    until_steps(machine, first, [1])
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: process_table.start_time(first.pid) is None, 30)
    ranks = process_table.members(first.token)
    other = place.machine()
    again = other.start(job)
    assert (again.attached, again.token) == (True, first.token)
    assert process_table.members(first.token) == ranks
    place.go(2)
    until_steps(other, again, [1, 2])
    assert other.poll(again).state == "running"
    assert log_of(place.run).count("begins at") == 1
    assert other.stop(again).state == "killed"
    assert process_table.members(first.token) == set()


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


def test_a_silent_host_is_no_job_that_hangs(place, monkeypatch) -> None:
    monkeypatch.setattr(mirroring, "ANSWER_SECONDS", 1.0)
    wire, said = Wire(place.server.port), []
    place.go(1)
    machine = place.machine(wire.port, said=said)
    handle = machine.start(place.job())
    until_steps(machine, handle, [1])
    wire.silence()
    back = threading.Timer(6.0, lambda: (place.go(9), wire.resume()))
    back.start()
    watch = Watch(
        machine, handle, place.run, 3, said.append, lambda percent: None, stall=3.0, interval=0.1
    )
    assert watch.until_done().state == "finished"
    assert not back.is_alive(), "it has waited"
    assert [one for one in said if "heard again" in one]
    wire.close()


def test_an_error_of_the_host_is_none_of_the_job(place, monkeypatch) -> None:
    said = []
    place.go(1)
    machine = place.machine(said=said)
    handle = machine.start(place.job())
    until_steps(machine, handle, [1])
    run, short = machine.connection.run, [True]

    def asked(command, **options):
        limit = "ulimit -v 9000; " if short and " sync " in command else ""
        return run(limit + command, **options)  # too little memory for any python

    monkeypatch.setattr(machine.connection, "run", asked)
    assert machine.poll(handle).state == "unheard"
    assert any("the job goes on there" in one for one in said)
    short.clear()
    until_steps(machine, handle, [1])
    assert "heard again" in said[-1]
    # For ever it is not borne, and what is gone is gone.
    monkeypatch.setattr(mirroring, "WRONG_SECONDS", 0.2)
    short.append(True)
    assert machine.poll(handle).running
    with pytest.raises(CftError, match=r"127.0.0.1:\d+: nothing but errors for .*mend the host"):
        until(lambda: not machine.poll(handle).running, 30)
    short.clear()
    (place.far / "job_host.py").unlink()
    with pytest.raises(CftError, match="not a run directory of ours any more"):
        machine.poll(handle)


def test_an_adapter_that_does_not_come_is_tried_again_and_keeps_its_host(
    place, monkeypatch
) -> None:
    monkeypatch.setattr(results, "AGAIN_SECONDS", 0.2)
    said = []
    machine = place.machine(said=said)
    in_the_way = place.run.path / results.FETCHED
    in_the_way.write_text("")
    handle = machine.start(place.job(1))
    until(lambda: machine.poll(handle).state == "fetching", 60)
    assert machine.poll(handle).running, "whoever watches it goes on watching"
    (told,) = [one for one in said if "adapter: not fetched" in one]
    assert "trying again" in told
    in_the_way.unlink()
    assert to_the_end(machine, handle).state == "finished"
    assert (place.run.adapter / "weights").stat().st_size == 300_000
    # The host is not kept for ever.
    shutil.rmtree(place.run.adapter)
    in_the_way.write_text("")
    machine = place.machine(adapter_seconds=0.5)
    handle = machine.start(place.job(1))
    with pytest.raises(CftError, match=r"adapter: could not be fetched for 0 s .*retry the run"):
        until(lambda: not machine.poll(handle).running, 30)


def test_what_arrived_is_kept_while_the_host_does_not_say_whether_it_is_still_there(
    place, monkeypatch
) -> None:
    monkeypatch.setattr(results, "ANSWER_SECONDS", 1.0)
    wire = Wire(place.server.port)
    place.go(2)
    machine = place.machine(wire.port)
    handle = machine.start(place.job())
    until_steps(machine, handle, [1, 2])
    run, looks = machine.connection.run, []

    def asked(command, **options):
        if command.startswith("test -d"):
            looks.append(command)
            if len(looks) == 1:
                wire.silence()
                threading.Timer(3.0, wire.resume).start()
        return run(command, **options)

    monkeypatch.setattr(machine.connection, "run", asked)
    assert machine.stop(handle).state == "killed"
    assert len(looks) > 1
    newest = place.run.checkpoints / "checkpoint-2" / "state.bin"
    assert newest.read_bytes() == b"\2" * 100_000
    wire.close()
