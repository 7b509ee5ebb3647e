"""A run directory here, its origin on a host behind SSH, and a job that does a step when told to.

The host is this one, through a real SSH server and a real tmux server.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cft.files import write_atomic
from cft.tracking.run_directory import RunDirectory
from tasks.machine import process_table, step_host, supervisor
from tasks.machine.job import Job, session_name
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.ssh_machine import SshMachine
from tests.processes import until
from tests.sshd import Sshd, needs_sshd

MARKS = [
    pytest.mark.integration,
    pytest.mark.timeout(1200),
    needs_sshd,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here"),
]

# A job as training is one: events, lines, checkpoints that are whole, an adapter, a child that
# would live on. It does a step whenever the file "go" counts further.
SCRIPT = """
import json, os, pathlib, subprocess, sys, time
run, steps = pathlib.Path(sys.argv[1]), int(sys.argv[2])
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
(run / "child").write_text(str(child.pid))
done = max([int(p.name[11:]) for p in run.glob("checkpoints/checkpoint-*")], default=0)
print("begins at", done, flush=True)
for step in range(done + 1, steps + 1):
    while step > int((run / "go").read_text() if (run / "go").exists() else 10 ** 9):
        time.sleep(0.05)
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"t": 1, "step": step, "kind": "metric", "values": {"x": step}}))
        file.write("\\n")
    print("step", step, "रामः", flush=True)
    beside = run / "checkpoints" / ".beside"
    beside.mkdir(parents=True)
    (beside / "state.bin").write_bytes(bytes([step]) * 100_000)
    beside.rename(run / "checkpoints" / f"checkpoint-{step}")
child.kill()
if "fail" in sys.argv:
    sys.exit("it cannot go on")
(run / ".adapter").mkdir()
(run / ".adapter" / "weights").write_bytes(b"w" * 300_000)
(run / ".adapter").rename(run / "adapter")
"""


class Place:
    """A run directory here, its mirror's origin on the host, and machines that lead to it."""

    def __init__(self, server: Sshd, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.run = RunDirectory(folder / "home" / "flow-1" / "stage1")
        self.run.path.mkdir(parents=True)
        self.run.spec.write_text("{}")
        self.base = folder / "far"
        self.script = folder / "job.py"
        self.script.write_text(SCRIPT)
        self.open: list[Connection] = []

    @property
    def far(self) -> Path:
        return self.base / "runs" / "flow-1" / "stage1"

    def machine(self, port: int | None = None, **options) -> SshMachine:
        """Another machine object: what a restarted watcher has."""
        settings = self.server.settings(
            port=port or self.server.port, heartbeat_seconds=1, dead_seconds=4
        )
        self.open.append(Connection(settings, KnownHosts(self.folder / "hosts")))
        said = options.pop("said", [])
        return SshMachine(self.open[-1], str(self.base), grace=2, say=said.append, **options)

    def job(self, steps: int = 3, *more: str) -> Job:
        words = [sys.executable, str(self.script), str(self.far), str(steps), *more]
        environment = {"FROM_THE_JOB": "1", "REMOVED": None}
        return Job(self.run.path, words, environment, files={"spec.json": "{}"})

    def go(self, step: int) -> None:
        self.far.mkdir(parents=True, exist_ok=True)
        write_atomic(self.far / "go", str(step))  # the job reads it at any moment

    def child(self) -> int:
        return int((self.far / "child").read_text())

    def has_session(self) -> bool:
        session = session_name(str(self.far), self.run.path)
        words = ["tmux", *step_host.TMUX, "has-session", "-t", f"={session}"]
        return subprocess.run(words, capture_output=True).returncode == 0


@contextlib.contextmanager
def placed(server: Sshd, folder: Path) -> Iterator[Place]:
    """A place whose job leaves nothing behind, whatever the test has done."""
    place = Place(server, folder)
    try:
        yield place
    finally:
        for one in place.open:
            one.close()
        record = supervisor.read_json(place.far / "supervisor.json")
        if record:
            process_table.end_all(lambda: process_table.members(record["token"]), 0, 5)
            if process_table.start_time(record["pid"]) == record["start"]:
                os.kill(record["pid"], signal.SIGKILL)
    until(lambda: not place.has_session(), 30)


def to_the_end(machine, handle, seconds=240):
    def ended():
        state = machine.poll(handle)
        return None if state.running else state

    return until(ended, seconds)


def until_steps(machine, handle, expected, seconds=240):
    """Poll until the events here are those of these steps and the job still runs."""
    run, deadline = RunDirectory(Path(handle.run)), time.monotonic() + seconds
    while True:
        state = machine.poll(handle)
        if state.running and steps_of(run) == expected:
            return
        assert state.running, (state, run.read_status(), steps_of(run))
        assert time.monotonic() < deadline, (state, steps_of(run), machine._seen)
        time.sleep(0.05)


def steps_of(run: RunDirectory) -> list[int]:
    return [event["step"] for event in run.read_events()[0]]


def log_of(run: RunDirectory) -> str:
    (log,) = run.path.glob("train-*.log")
    return log.read_text(encoding="utf-8")
