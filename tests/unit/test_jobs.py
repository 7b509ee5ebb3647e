"""Finding and ending the jobs of this host, and knowing who watches them."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cft.errors import CftError
from cft.home import Home
from tasks.machine import process_table, supervisor
from tasks.machine.job import Job
from tasks.machine.jobs import jobs_of, living_jobs, stop_jobs
from tasks.machine.local import LocalMachine
from tasks.machine.watcher import watcher_of, watching
from tests.processes import LAUNCHER, until, worker_of


@pytest.fixture
def home(tmp_path: Path):
    yield Home(tmp_path)
    for record in tmp_path.rglob("supervisor.json"):
        token = supervisor.read_json(record).get("token", "")
        process_table.end_all(lambda: process_table.members(token), 1.0)  # noqa: B023 (called at once)


def begin(home: Home, flow_run: str, stage: str, code: str = LAUNCHER):
    run = home.runs / flow_run / stage
    handle = LocalMachine(grace=1.0).start(Job(run, [sys.executable, "-c", code]))
    if code == LAUNCHER:
        worker_of(run)
    return handle


def test_no_run_no_job(home: Home) -> None:
    assert living_jobs(home) == []
    assert jobs_of(home, "one") == []
    assert stop_jobs(home, "one") == []


def test_living_jobs_are_found_and_stopped_with_all_their_processes(home: Home) -> None:
    begin(home, "a-1", "stage1", "pass")
    second = begin(home, "a-1", "stage2")
    other = begin(home, "b-2", "stage1")
    until(lambda: len(living_jobs(home)) == 2)
    found = living_jobs(home)
    assert [(job.flow_run_id, job.stage, job.handle.token) for job in found] == [
        ("a-1", "stage2", second.token),
        ("b-2", "stage1", other.token),
    ]
    assert [job.state.state for job in found] == ["running", "running"]
    assert [job.stage for job in jobs_of(home, "a-1")] == ["stage2"]

    (stopped,) = stop_jobs(home, "a-1", grace=1.0)
    assert stopped.state.state == "killed"
    assert process_table.members(second.token) == set()
    assert supervisor.read_json(stopped.run / "status.json")["stopped"] is True
    assert [job.flow_run_id for job in living_jobs(home)] == ["b-2"], "others are left alone"
    assert stop_jobs(home, "a-1") == [], "stopping twice is harmless"


def test_a_job_without_supervisor_is_found_by_its_ranks(home: Home) -> None:
    handle = begin(home, "a", "stage1")
    os.kill(handle.pid, signal.SIGKILL)
    until(lambda: process_table.start_time(handle.pid) is None)
    assert [job.handle.token for job in living_jobs(home)] == [handle.token]
    stop_jobs(home, "a", grace=1.0)
    assert process_table.members(handle.token) == set()


def test_a_foreign_record_hides_no_job(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    strange = home.runs / "a" / "stage1" / "supervisor.json"
    strange.parent.mkdir(parents=True)
    strange.write_text('{"hello": 1}')
    handle = begin(home, "b", "stage1")
    assert [job.handle.token for job in living_jobs(home)] == [handle.token]


@pytest.mark.parametrize("name", ["", "..", "*", "a/b"])
def test_only_an_id_names_jobs(home: Home, name: str) -> None:
    with pytest.raises(CftError, match="not an id"):
        stop_jobs(home, name)


def test_a_watcher_is_known_while_it_lives_and_after(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert watcher_of(run).state == "none"
    with watching(run):
        mine = watcher_of(run)
        assert (mine.state, mine.pid) == ("alive", os.getpid())
    assert (watcher_of(run).state, watcher_of(run).left) == ("dead", True)
    code = textwrap.dedent(
        f"""
        import time
        from pathlib import Path
        from tasks.machine.watcher import watching
        with watching(Path({str(run)!r})):
            print("here", flush=True)
            time.sleep(600)
        """
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "here\n"
        theirs = watcher_of(run)
        assert (theirs.state, theirs.pid) == ("alive", other.pid)
        with (
            pytest.raises(CftError, match=rf"process {other.pid} on .* watches this run"),
            watching(run, patience=0.3),
        ):
            raise AssertionError("two watchers")
    finally:
        other.kill()
        other.communicate()
    assert (watcher_of(run).state, watcher_of(run).left) == ("dead", False)
    with watching(run, patience=0.3):
        assert watcher_of(run).pid == os.getpid()
