"""A job on a host behind SSH: mirrored, found again, ended whole, and never lost with a connection.

The host is this one, through a real SSH server and a real tmux server.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cft.errors import CftError
from cft.files import write_atomic
from cft.tracking.run_directory import RunDirectory
from tasks.machine import process_table, step_host, supervisor
from tasks.machine.job import Job, session_name
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.ssh_machine import SshMachine
from tests.processes import until
from tests.sshd import Sshd, Wire, needs_sshd, running

pytestmark = [
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


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


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


@pytest.fixture
def place(server, tmp_path):
    place = Place(server, tmp_path)
    yield place
    for one in place.open:
        one.close()
    record = supervisor.read_json(place.far / "supervisor.json")
    if record:
        process_table.end_all(lambda: process_table.members(record["token"]), 0, 5)
        if process_table.start_time(record["pid"]) == record["start"]:
            os.kill(record["pid"], signal.SIGKILL)
    until(lambda: not place.has_session(), 30)  # whatever its job died of


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


def test_a_job_and_all_that_it_leaves(place) -> None:
    machine = place.machine()
    handle = machine.start(place.job())
    assert not handle.attached
    state = to_the_end(machine, handle)
    assert (state.state, state.exit_code) == ("finished", 0)
    assert steps_of(place.run) == [1, 2, 3]
    assert log_of(place.run) == "begins at 0\n" + "".join(f"step {n} रामः\n" for n in (1, 2, 3))
    assert (place.run.adapter / "weights").read_bytes() == b"w" * 300_000
    status = place.run.read_status()
    assert (status["state"], status["exit_code"], status["stopped"]) == ("finished", 0, False)
    for name in ("events.jsonl", "status.json"):
        assert json.dumps((place.run.path / name).read_text()) == json.dumps(
            (place.far / name).read_text()
        )
    assert not list(place.run.path.glob(".fetched"))
    assert machine.stop(handle) == state, "what has ended is not asked to end"


def test_a_second_start_and_a_second_watcher_attach(place) -> None:
    place.go(1)
    first = place.machine()
    handle = first.start(place.job())
    until_steps(first, handle, [1], 60)
    assert first.start(place.job()).attached
    # The watcher dies with all that it knew; another one has the run directory alone.
    place.open[0].close()
    other = place.machine()
    again = other.start(place.job())
    assert again.attached
    assert (again.token, again.pid, again.start) == (handle.token, handle.pid, handle.start)
    place.go(9)
    assert to_the_end(other, again).state == "finished"
    assert steps_of(place.run) == [1, 2, 3]
    assert log_of(place.run).count("begins at") == 1


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


def test_people_can_look_at_it(place) -> None:
    place.go(1)
    machine = place.machine()
    handle = machine.start(place.job())
    tmux, session = ["tmux", *step_host.TMUX], machine.session_of(place.run.path)

    def pane():
        shown = subprocess.run(
            [*tmux, "capture-pane", "-p", "-t", f"={session}:log"],
            capture_output=True, text=True,
        )  # fmt: skip
        return "step 1" in shown.stdout

    until(pane, 30)
    # Who closes the session ends the job, and the record says so.
    subprocess.run([*tmux, "kill-session", "-t", f"={session}"], check=True)
    state = to_the_end(machine, handle)
    assert state.state == "killed"
    assert place.run.read_status()["stopped"] is True
    assert process_table.start_time(place.child()) is None


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


def test_stop_ends_the_whole_tree_and_keeps_what_it_saved(place) -> None:
    place.go(2)
    machine = place.machine()
    handle = machine.start(place.job())
    until_steps(machine, handle, [1, 2])
    child = place.child()
    state = machine.stop(handle)
    assert (state.state, state.signal) == ("killed", signal.SIGTERM)
    assert process_table.start_time(child) is None
    assert process_table.members(handle.token) == set()
    assert (place.run.checkpoints / "checkpoint-2" / "state.bin").read_bytes() == b"\2" * 100_000


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


def test_a_failed_job_says_why(place) -> None:
    machine = place.machine()
    state = to_the_end(machine, machine.start(place.job(1, "fail")))
    assert (state.state, state.exit_code) == ("failed", 1)
    assert log_of(place.run).endswith("it cannot go on\n")
    assert not place.run.adapter.exists()
    assert (place.run.checkpoints / "checkpoint-1").is_dir()


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


def test_only_what_is_set_reaches_the_job(place, monkeypatch) -> None:
    monkeypatch.setenv("CFT_SECRET_OF_THE_WATCHER", "x")
    job = Job(
        place.run.path,
        [sys.executable, "-c", "import os; print(sorted(os.environ))"],
        {"FROM_THE_JOB": "1", "REMOVED": None},
    )
    machine = place.machine()
    assert to_the_end(machine, machine.start(job)).state == "finished"
    assert "FROM_THE_JOB" in log_of(place.run)
    assert "CFT_SECRET" not in log_of(place.run)


def test_a_host_that_cannot_start_it(place) -> None:
    place.base.write_text("a file where the folder should be")
    with pytest.raises(CftError, match=r"127.0.0.1:\d+: .*far"):
        place.machine().start(place.job())


def test_without_tmux_it_runs_as_well(tmp_path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("sh", "test", "env", "sleep", "ps"):
        (bare / name).symlink_to(shutil.which(name) or "")
    (bare / "python3").symlink_to(sys.executable)
    # Everything but tmux.
    poor = f'ForceCommand PATH={bare}; export PATH; eval "$SSH_ORIGINAL_COMMAND"'
    with running(Sshd(tmp_path / "sshd", more=(poor,))) as server:
        place, said = Place(server, tmp_path / "place"), []
        machine = place.machine(said=said)
        handle = machine.start(place.job())
        assert to_the_end(machine, handle).state == "finished"
        assert any("no tmux" in one for one in said)
        place.open[0].close()


def test_a_time_limit_is_kept_by_the_host_itself(tmp_path) -> None:
    """Nobody watches it, and it ends all the same."""
    run = tmp_path / "run"
    begun = time.monotonic()
    words = [sys.executable, supervisor.__file__, str(run), "--grace", "1", "--timeout", "1"]
    done = subprocess.run([*words, "--", "sleep", "600"], timeout=60)
    assert time.monotonic() - begun < 50
    assert done.returncode == 128 + signal.SIGTERM
    status = supervisor.read_json(run / "status.json")
    assert (status["state"], status["stopped"], status["reason"]) == (
        "killed", True, "not done within 1 s",
    )  # fmt: skip


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
