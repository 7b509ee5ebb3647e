"""Steps run for real: detached, followed, attached to, killed."""

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from cft.errors import CftError
from tasks.machine import process_table, step_host, supervisor
from tasks.machine.remote import LocalRemote, Result
from tasks.machine.step import Step, run_step
from tests.processes import until


def step_of(tmp_path: Path, script: str, timeout: float = 120) -> Step:
    return Step(
        name="a-step",
        root=str(tmp_path / "it's here"),  # a name that a shell would trip over
        files={"script.sh": script},
        command=("sh", "{folder}/script.sh"),
        timeout=timeout,
    )


def folder_of(step: Step) -> Path:
    return Path(step.root, "steps", step.name)


class Listening(LocalRemote):
    """Keeps the commands that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[str] = []

    def run(self, command: str, *, timeout: float, stdin: bytes | None = None) -> Result:
        self.commands.append(command)
        return super().run(command, timeout=timeout, stdin=stdin)


class InBackground:
    """A step that somebody else runs meanwhile."""

    def __init__(self, step: Step) -> None:
        self.outcome: object = None
        self.remote = Listening()
        self.thread = threading.Thread(target=self._run, args=(step,))
        self.thread.start()

    def _run(self, step: Step) -> None:
        try:
            self.outcome = run_step(self.remote, step)
        except CftError as error:
            self.outcome = error

    def wait(self) -> object:
        self.thread.join(120)
        assert not self.thread.is_alive()
        return self.outcome


def test_output_comes_once_and_whole_and_the_exit_code_is_true(tmp_path: Path) -> None:
    lines: list[str] = []
    script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; printf end; exit 7"
    end = run_step(LocalRemote(), step_of(tmp_path, script), on_line=lines.append)
    assert end.exit_code == 7
    assert lines == [f"line {i}" for i in range(1, 20001)] + ["end"]
    assert end.lines[-1] == "end"
    assert not end.attached


def test_a_step_runs_again_and_the_last_runs_end_is_not_taken_for_its_own(tmp_path: Path) -> None:
    assert run_step(LocalRemote(), step_of(tmp_path, "echo first; exit 3")).exit_code == 3
    end = run_step(LocalRemote(), step_of(tmp_path, "sleep 1; echo second"))
    assert (end.exit_code, end.lines) == (0, ("second",))


def test_a_second_start_attaches(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"echo x >> {tmp_path}/begun; while [ ! -e {go} ]; do sleep 0.1; done; echo done"
    step = step_of(tmp_path, script)
    first = InBackground(step)
    until((tmp_path / "begun").exists, 60)
    second = InBackground(step)
    until(lambda: any(" poll " in command for command in second.remote.commands), 60)
    go.touch()
    ends = [first.wait(), second.wait()]
    assert [end.attached for end in ends] == [False, True]
    assert [end.exit_code for end in ends] == [0, 0]
    assert [end.lines for end in ends] == [("done",), ("done",)]
    assert (tmp_path / "begun").read_text() == "x\n"


def test_a_killed_step_has_no_exit_code(tmp_path: Path) -> None:
    step = step_of(tmp_path, f"echo up; touch {tmp_path}/begun; sleep 600")
    running = InBackground(step)
    until((tmp_path / "begun").exists, 60)
    found = until(lambda: supervisor.read_json(folder_of(step) / "supervisor.json"))
    for pid in (found["pid"], *process_table.members(found["token"])):
        os.kill(pid, signal.SIGKILL)
    end = running.wait()
    assert end.exit_code is None
    assert end.lines == ("up",)


def test_what_a_killed_supervisor_left_is_attached_to_and_followed(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"echo x >> {tmp_path}/begun; while [ ! -e {go} ]; do sleep 0.1; done; echo done"
    step = step_of(tmp_path, script)
    first = InBackground(step)
    until((tmp_path / "begun").exists, 60)
    found = until(lambda: supervisor.read_json(folder_of(step) / "supervisor.json"))
    until(lambda: first.remote.commands, 60)
    os.kill(found["pid"], signal.SIGKILL)
    until(lambda: process_table.start_time(found["pid"]) is None)
    second = InBackground(step)
    until(lambda: any(" poll " in command for command in second.remote.commands), 60)
    go.touch()
    ends = [first.wait(), second.wait()]
    assert [end.attached for end in ends] == [False, True]
    assert [end.lines for end in ends] == [("done",), ("done",)]
    assert [end.exit_code for end in ends] == [None, None], "nobody was there to see it"
    assert (tmp_path / "begun").read_text() == "x\n"


def test_what_a_killed_supervisor_left_is_stopped_as_well(tmp_path: Path) -> None:
    step = step_of(tmp_path, f"touch {tmp_path}/begun; sleep 600", timeout=4)
    running = InBackground(step)
    until((tmp_path / "begun").exists, 60)
    found = until(lambda: supervisor.read_json(folder_of(step) / "supervisor.json"))
    os.kill(found["pid"], signal.SIGKILL)
    assert "not done within 4 s and stopped" in str(running.wait())
    assert process_table.members(found["token"]) == set()


def test_a_step_that_takes_too_long_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    step = step_of(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; echo up; wait", timeout=3)
    with pytest.raises(CftError, match="a-step: not done within 3 s and stopped"):
        run_step(LocalRemote(), step)
    until(lambda: step_host.poll(folder_of(step), 0)["state"] != "running", 60)
    child = int((tmp_path / "child").read_text())
    until(lambda: process_table.start_time(child) is None)


def test_files_are_for_nobody_else_to_read_and_no_content_is_in_a_command_line(
    tmp_path: Path,
) -> None:
    step = step_of(tmp_path, "echo secret-word >/dev/null")
    remote = Listening()
    run_step(remote, step)
    assert remote.commands
    assert not any("secret-word" in command for command in remote.commands)
    assert folder_of(step).stat().st_mode & 0o077 == 0
    assert (folder_of(step) / "script.sh").stat().st_mode & 0o077 == 0


def test_a_name_that_would_leave_the_folder_is_refused(tmp_path: Path) -> None:
    step = Step("../x", str(tmp_path), {}, ("true",), 10)
    with pytest.raises(CftError, match=r"step '\.\./x': not a name"):
        run_step(LocalRemote(), step)


def test_a_host_without_python_is_named(tmp_path: Path) -> None:
    remote = LocalRemote({"PATH": str(tmp_path)})
    with pytest.raises(CftError, match=r"install Python 3\.10 or newer"):
        run_step(remote, step_of(tmp_path, "true"))


def test_a_python_that_is_too_old_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(step_host, "OLDEST", (3, 99))
    with pytest.raises(CftError, match=r"python3 is 3\.\d+; the host needs 3\.99 or newer"):
        run_step(LocalRemote(), step_of(tmp_path, "true"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    step = Step("a-step", str(tmp_path / "file"), {}, ("true",), 10)
    with pytest.raises(CftError, match="file/steps/a-step: Not a directory"):
        run_step(LocalRemote(), step)


def test_a_log_that_was_cut_short_is_read_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "supervisor.json").write_text('{"log": "train-1.log"}')
    (tmp_path / "train-1.log").write_text("new\n")
    assert step_host.poll(tmp_path, 5000)["text"] == "new\n"


def test_a_shown_log_ends_with_its_process_even_one_that_nobody_reaps(tmp_path) -> None:
    log = tmp_path / "it's a log"
    log.write_text("a line\n")
    followed = subprocess.Popen(["sleep", "600"])
    shown = subprocess.Popen(
        step_host.log_words(followed.pid, log), stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert shown.stdout is not None
        assert shown.stdout.readline() == b"a line\n"
        with log.open("a") as file:
            file.write("another\n")
        assert shown.stdout.readline() == b"another\n"
        assert shown.poll() is None
        followed.kill()  # a zombie until it is waited for
        assert shown.wait(30) == 0
        assert shown.stdout.read() == b"", "no tail holds it open"
    finally:
        followed.kill()
        followed.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shown.pid, signal.SIGKILL)
        shown.wait()
