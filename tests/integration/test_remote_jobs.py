"""Ending a run's jobs on another host by nothing but the run's id, whoever had started them."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from cft.errors import CftError
from cft.files import write_json
from cft.home import Home
from cft.tracking.run_directory import RunDirectory
from tasks.machine import supervisor
from tasks.machine.hire import SETTINGS, lease_folder
from tasks.machine.host import own_host
from tasks.machine.job import Handle, Job
from tasks.machine.provider.ledger import ledger_of
from tasks.machine.remote_jobs import remote_jobs, stop_remote_jobs
from tasks.machine.settings import MachineSettings
from tasks.machine.ssh_machine import SshMachine
from tests.processes import until
from tests.renting import entry_of
from tests.sshd import USER, Sshd, Wire, needs_sshd, running

pytestmark = [pytest.mark.integration, needs_sshd]

RUN = "0f0f0f0f-1111-2222-3333-444455556666"
# A job with a checkpoint and a child that has left its session; it ends when it is told to.
SCRIPT = """
import os, pathlib, signal, subprocess, sys, time
run = pathlib.Path(sys.argv[1])
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
(run / "checkpoints" / "checkpoint-1").mkdir(parents=True)
(run / "checkpoints" / "checkpoint-1" / "state.bin").write_bytes(b"c" * 1000)
print("child", child.pid, flush=True)
while not (run / "go").exists():
    time.sleep(0.05)
child.kill()
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


class Far:
    """A run whose job lives on the host, and the state folder that mirrors it."""

    def __init__(self, server: Sshd, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.home, self.base = Home(folder / "home"), folder / "far"
        self.run = RunDirectory(self.home.runs / RUN / "stage1")
        self.there = self.base / "runs" / RUN / "stage1"
        self.child = 0

    def lease(self, port: int | None = None, **changes) -> MachineSettings:
        """Write down how the host of the run is reached, as a flow does."""
        ssh = self.server.settings(port=port or self.server.port)
        values = {"kind": "ssh", "ssh": ssh.model_dump(mode="json"), **changes}
        machine = MachineSettings.model_validate(values)
        write_json(lease_folder(self.home, RUN) / SETTINGS, machine.model_dump(mode="json"))
        return machine

    def start(self, machine: MachineSettings, code: str = SCRIPT) -> Handle:
        """Start the job, look at it once, and forget it: what a killed flow leaves behind."""
        self.run.path.mkdir(parents=True)
        with own_host(self.home, machine).connect() as connection:
            there = SshMachine(connection, str(self.base), grace=1, say=lambda line: None)
            job = Job(self.run.path, [sys.executable, "-c", code, str(self.there)])
            handle = there.start(job)

            def printed():
                there.poll(handle)
                words = "".join(log.read_text() for log in self.run.path.glob("train-*.log"))
                return words.split()[1:2]

            if code == SCRIPT:
                self.child = int(until(printed, 60)[0])
            return handle


@pytest.fixture
def far(server, tmp_path):
    far = Far(server, tmp_path)
    yield far
    record = supervisor.read_json(far.there / "supervisor.json")
    if record:
        supervisor.end_all(lambda: supervisor.members(record["token"]), 0, 5)
        if supervisor.start_time(record["pid"]) == record["start"]:
            os.kill(record["pid"], signal.SIGKILL)


def test_the_whole_tree_ends_and_what_it_saved_comes_home(far) -> None:
    handle = far.start(far.lease())
    (found,) = remote_jobs(far.home, RUN)
    assert (found.stage, found.base, found.state.running) == ("stage1", str(far.base), True)
    (stopped,) = stop_remote_jobs(far.home, RUN, grace=1.0)
    assert (stopped.stage, stopped.state.state) == ("stage1", "killed")
    assert supervisor.members(handle.token) == set()
    assert supervisor.start_time(far.child) is None
    assert far.run.read_status()["stopped"] is True
    assert (far.run.checkpoints / "checkpoint-1" / "state.bin").read_bytes() == b"c" * 1000
    assert stop_remote_jobs(far.home, RUN) == [], "what is known to have ended is not asked for"


def test_a_rented_machine_is_reached_by_its_entry(far) -> None:
    far.start(far.lease())
    far.lease(kind="lambda", ssh=None, user=USER, identity=str(far.server.client_key))
    assert stop_remote_jobs(far.home, RUN) == [], "its machine is given back, and it has ended"
    assert supervisor.start_time(far.child) is not None
    entry = entry_of(
        job=RUN, state="ready", instance_id="i-1", ip="127.0.0.1", port=far.server.port
    )
    ledger = ledger_of(far.home)
    with ledger.hold(entry.key) as held:
        held.begin(entry)
    (stopped,) = stop_remote_jobs(far.home, RUN, grace=1.0)
    assert stopped.state.state == "killed"
    assert supervisor.start_time(far.child) is None


def test_a_job_that_has_ended_unseen_keeps_its_true_end(far) -> None:
    far.start(far.lease())
    (far.there / "go").touch()
    until(lambda: supervisor.read_json(far.there / "status.json").get("exit_code") == 0, 30)
    (stopped,) = stop_remote_jobs(far.home, RUN)
    assert (stopped.state.state, stopped.state.exit_code) == ("finished", 0)
    assert far.run.read_status()["state"] == "finished"
    (log,) = far.run.path.glob("train-*.log")
    assert log.read_text().endswith("done\n")


def test_a_host_that_is_silent_costs_no_more_than_the_time_that_was_given(far) -> None:
    far.start(far.lease())
    wire = Wire(far.server.port)
    far.lease(port=wire.port)
    wire.silence()
    began = time.monotonic()
    with pytest.raises(CftError, match="may go on there") as caught:
        stop_remote_jobs(far.home, RUN, grace=1.0, seconds=3.0)
    assert "127.0.0.1" in str(caught.value)
    assert time.monotonic() - began < 10
    assert supervisor.start_time(far.child) is not None
    wire.resume()
    (stopped,) = stop_remote_jobs(far.home, RUN, grace=1.0)
    assert stopped.state.state == "killed"
    wire.close()


def test_what_cannot_be_reached_is_said(far) -> None:
    assert stop_remote_jobs(far.home, RUN) == []
    far.start(far.lease())
    shutil.rmtree(lease_folder(far.home, RUN))
    with pytest.raises(CftError, match="settings are gone"):
        stop_remote_jobs(far.home, RUN)
    far.lease()
    (far.there / "job_host.py").rename(far.there / "elsewhere")
    with pytest.raises(CftError, match="stage1 could not be stopped"):
        stop_remote_jobs(far.home, RUN)
    with pytest.raises(CftError, match="not an id"):
        stop_remote_jobs(far.home, "*")
