"""The supervisor by itself: real processes, real signals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.machine import job_host, notebook_host, process_table, step_host, supervisor
from tests.processes import LAUNCHER, until, worker_of

SCRIPT = Path(supervisor.__file__)


@pytest.fixture
def begin():
    """Start a supervisor; one that a failed test left behind is stopped."""
    started = []

    def start(run: Path, *command: str, grace: float = 2.0) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(run), "--grace", str(grace), "--", *command],
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait(20)
        process.stderr.close()


def log_of(run: Path) -> str:
    (log,) = run.glob("train-*.log")
    return log.read_text(encoding="utf-8")


def status_of(run: Path) -> dict:
    return json.loads((run / "status.json").read_text(encoding="utf-8"))


def test_a_command_that_ends_well(begin, tmp_path: Path) -> None:
    before = time.time()
    code = "import sys; print('out'); print('err', file=sys.stderr)"
    process = begin(tmp_path, sys.executable, "-c", code)
    assert process.wait(10) == 0
    assert sorted(log_of(tmp_path).split()) == ["err", "out"]
    status = status_of(tmp_path)
    assert (status["state"], status["exit_code"], status["signal"]) == ("finished", 0, None)
    assert before <= status["started"] <= status["ended"] <= time.time()
    assert not list(tmp_path.glob(".*")), "a temporary file was left"


def test_the_exit_code_is_recorded_over_what_the_job_itself_claimed(begin, tmp_path: Path) -> None:
    claim = {"state": "finished", "exit_code": 0, "figures": 1}
    code = (
        f"import json, pathlib, sys; pathlib.Path({str(tmp_path / 'status.json')!r})"
        f".write_text(json.dumps({claim!r})); sys.exit(7)"
    )
    assert begin(tmp_path, sys.executable, "-c", code).wait(10) == 7
    status = status_of(tmp_path)
    assert (status["state"], status["exit_code"], status["figures"]) == ("failed", 7, 1)
    assert status["job_exit_code"] == 0, "what the job said is kept beside"


def test_a_killed_command_takes_its_orphans_along(begin, tmp_path: Path) -> None:
    process = begin(tmp_path, sys.executable, "-c", LAUNCHER)
    worker = worker_of(tmp_path)
    record = supervisor.read_json(tmp_path / "supervisor.json")
    assert os.getpgid(worker) != record["child_pgid"], "the worker is in a group of its own"
    os.kill(record["child_pid"], signal.SIGKILL)
    assert process.wait(10) == 128 + 9
    status = status_of(tmp_path)
    assert (status["state"], status["exit_code"], status["signal"]) == ("killed", None, 9)
    assert process_table.start_time(worker) is None, "an orphan outlived the job"


def test_term_ends_the_whole_tree_and_kill_follows_for_the_deaf(begin, tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    process = begin(tmp_path, sys.executable, "-c", deaf + LAUNCHER, grace=0.5)
    worker = worker_of(tmp_path)
    child = supervisor.read_json(tmp_path / "supervisor.json")["child_pid"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + 9
    assert process_table.start_time(worker) is None
    assert process_table.start_time(child) is None
    assert status_of(tmp_path)["state"] == "killed"


def test_a_job_that_answers_term_with_zero_is_still_killed(begin, tmp_path: Path) -> None:
    polite = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0));"
        "print('worker', 1, flush=True); time.sleep(600)"
    )
    process = begin(tmp_path, sys.executable, "-c", polite)
    worker_of(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert status_of(tmp_path)["state"] == "killed"


def test_one_run_directory_one_supervisor(begin, tmp_path: Path) -> None:
    first = begin(tmp_path, sys.executable, "-c", "import time; time.sleep(600)")
    until((tmp_path / "supervisor.json").exists)
    second = begin(tmp_path, sys.executable, "-c", "print('twice')")
    assert second.wait(10) == supervisor.BUSY
    assert "another supervisor" in second.stderr.read()
    assert len(list(tmp_path.glob("train-*.log"))) == 1
    first.terminate()
    first.wait(10)
    again = begin(tmp_path, sys.executable, "-c", "print('again')")
    assert again.wait(10) == 0, "the lock must end with its holder"


def test_a_command_that_does_not_exist(begin, tmp_path: Path) -> None:
    assert begin(tmp_path, "/no/such/program").wait(10) == 127
    assert "No such file" in log_of(tmp_path)
    assert status_of(tmp_path)["state"] == "failed"
    assert status_of(tmp_path)["exit_code"] == 127


def test_the_heartbeat_goes_on(begin, tmp_path: Path) -> None:
    process = begin(tmp_path, sys.executable, "-c", "import time; time.sleep(600)")
    first = (
        until(lambda: (tmp_path / "heartbeat").exists())
        and (tmp_path / "heartbeat").stat().st_mtime
    )
    until(lambda: (tmp_path / "heartbeat").stat().st_mtime > first)
    process.terminate()
    process.wait(10)


@pytest.mark.parametrize("words", [[], ["run"], ["run", "--"], ["run", "--x", "1", "--", "true"]])
def test_a_wrong_command_line_is_refused(words: list[str]) -> None:
    assert supervisor.main(words) == 2


def test_it_stands_alone(tmp_path: Path) -> None:
    """Its two files run isolated from every installed package."""
    copy = tmp_path / "supervisor.py"
    for one in (supervisor, process_table):
        shutil.copy(str(one.__file__), tmp_path)
    done = subprocess.run(
        [sys.executable, "-E", "-S", str(copy), str(tmp_path / "run"), "--", "true"], timeout=20
    )
    assert done.returncode == 0
    assert status_of(tmp_path / "run")["state"] == "finished"


@pytest.mark.parametrize("name", ["supervisor", "step_host", "job_host", "notebook_host"])
def test_what_is_sent_to_hosts_finds_its_own_files_without_pythons_help(
    name: str, tmp_path: Path
) -> None:
    """PYTHONSAFEPATH keeps the folder of a script out of the path."""
    for one in (supervisor, process_table, step_host, job_host, notebook_host):
        shutil.copy(str(one.__file__), tmp_path)
    done = subprocess.run(
        [sys.executable, str(tmp_path / f"{name}.py"), "help"],
        env=os.environ | {"PYTHONSAFEPATH": "1"}, cwd="/", capture_output=True, text=True,
        timeout=20,
    )  # fmt: skip
    assert f"usage: {name}.py" in done.stdout + done.stderr
