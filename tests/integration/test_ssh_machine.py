"""A job on a host behind SSH: mirrored, found again, looked at, ended whole."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from cft.errors import CftError
from tasks.machine import process_table, step_host, supervisor
from tasks.machine.job import Job
from tests.integration.ssh_place import (
    MARKS,
    Place,
    log_of,
    placed,
    steps_of,
    to_the_end,
    until_steps,
)
from tests.processes import until
from tests.sshd import Sshd, running

pytestmark = MARKS


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@pytest.fixture
def place(server, tmp_path):
    with placed(server, tmp_path) as place:
        yield place


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


def test_a_failed_job_says_why(place) -> None:
    machine = place.machine()
    state = to_the_end(machine, machine.start(place.job(1, "fail")))
    assert (state.state, state.exit_code) == ("failed", 1)
    assert log_of(place.run).endswith("it cannot go on\n")
    assert not place.run.adapter.exists()
    assert (place.run.checkpoints / "checkpoint-1").is_dir()


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
