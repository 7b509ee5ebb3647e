"""A run whose job lives on a host behind SSH (this one), with nobody left who had started it."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from cft.files import write_json
from cft.home import Home
from cft.tracking.run_directory import RunDirectory
from tasks.machine import process_table, supervisor
from tasks.machine.hire import SETTINGS, lease_folder
from tasks.machine.host import own_host
from tasks.machine.job import Handle, Job
from tasks.machine.settings import MachineSettings
from tasks.machine.ssh_machine import SshMachine
from tests.processes import until
from tests.sshd import Sshd

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


class Far:
    """A run whose job lives on the host, and the state folder that mirrors it."""

    def __init__(
        self, server: Sshd, folder: Path, home: Home | None = None, name: str = RUN
    ) -> None:
        self.server, self.folder, self.name = server, folder, name
        self.home, self.base = home or Home(folder / "home"), folder / "far"
        self.run = RunDirectory(self.home.runs / name / "stage1")
        self.there = self.base / "runs" / name / "stage1"
        self.child = 0

    def lease(self, port: int | None = None, **changes) -> MachineSettings:
        """Write down how the host of the run is reached, as a flow does."""
        ssh = self.server.settings(port=port or self.server.port)
        values = {"kind": "ssh", "ssh": ssh.model_dump(mode="json"), **changes}
        machine = MachineSettings.model_validate(values)
        write_json(lease_folder(self.home, self.name) / SETTINGS, machine.model_dump(mode="json"))
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


@contextlib.contextmanager
def far_run(server: Sshd, folder: Path, home: Home | None = None, name: str = RUN) -> Iterator[Far]:
    """The run; all processes of its job end with the block."""
    far = Far(server, folder, home, name)
    try:
        yield far
    finally:
        record = supervisor.read_json(far.there / "supervisor.json")
        if record:
            process_table.end_all(lambda: process_table.members(record["token"]), 0, 5)
            if process_table.start_time(record["pid"]) == record["start"]:
                os.kill(record["pid"], signal.SIGKILL)
