"""Following a job: whole lines once, no bars, an end that is noticed."""

import sys
from pathlib import Path

import pytest

from cft.tracking.run_directory import RunDirectory
from tasks.machine import process_table
from tasks.machine.job import Handle, Job, JobState
from tasks.machine.local import LocalMachine
from tasks.machine.place import BudgetSpentError
from tasks.watch import LogFollower, NotWantedError, Watch


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def test_lines_come_once_and_whole(run: RunDirectory) -> None:
    follower = LogFollower(run)
    assert follower.lines() == []
    log = run.new_log()
    append(log, "one\ntw")
    assert follower.lines() == ["one"]
    append(log, "o\n\nthree")
    assert follower.lines() == ["two"]
    assert follower.lines() == []
    assert follower.lines(final=True) == ["three"]


def test_a_character_that_arrives_in_pieces(run: RunDirectory) -> None:
    follower, log = LogFollower(run), run.new_log()
    data = "धर्म\n".encode()
    for byte in data[:-1]:
        append(log, bytes([byte]))
        assert follower.lines() == []
    append(log, data[-1:])
    assert follower.lines() == ["धर्म"]


def test_bars_are_dropped_and_redraws_folded(run: RunDirectory) -> None:
    follower, log = LogFollower(run), run.new_log()
    append(log, "\rtraining:  50%|#####     | 3/6 [00:01<00:01]\rtraining: 100%|##| 6/6 [00:02]\n")
    append(log, "draft\rfinal text\n")
    append(log, "accuracy 50% of 3\n")
    assert follower.lines() == ["final text", "accuracy 50% of 3"]


def test_a_new_log_starts_at_its_beginning(run: RunDirectory) -> None:
    follower = LogFollower(run)
    run.path.mkdir()
    append(run.path / "train-20260101000000.log", "a\n")
    assert follower.lines() == ["a"]
    append(run.path / "train-20260101000001.log", "b\n")
    assert follower.lines() == ["b"]


def watch(run: RunDirectory, code: str, said: list[str], seen: list[float], **more) -> Watch:
    machine = LocalMachine(grace=1.0)
    handle = machine.start(Job(run.path, [sys.executable, "-c", code]))
    return Watch(
        machine, handle, run, max_steps=4, say=said.append, progress=seen.append, interval=0.02,
        **more,
    )  # fmt: skip


def test_it_ends_with_the_job_and_has_passed_on_everything(run: RunDirectory) -> None:
    code = f"""
import time
from cft.tracking.run_directory import RunDirectory
run = RunDirectory({str(run.path)!r})
for step in range(1, 5):
    run.append_event("metric", step, loss=1.0)
    print("step", step, flush=True)
    time.sleep(0.05)
print("the end", end="")
"""
    said: list[str] = []
    seen: list[float] = []
    state = watch(run, code, said, seen).until_done()
    assert state == JobState("finished", 0, None)
    assert said == ["step 1", "step 2", "step 3", "step 4", "the end"]
    assert seen[0] < 100
    assert seen[-1] == 100
    assert len(seen) == 2, "within five seconds only the first and the last are worth a call"


def test_a_flood_is_cut(run: RunDirectory) -> None:
    said: list[str] = []
    watch(run, "for n in range(5000): print(n)", said, []).until_done()
    assert len(said) < 500
    assert any("more lines in the log" in line for line in said)


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"deadline": 0.3}, "not done within"), ({"stall": 0.3}, "no event and no log line")],
)
def test_deadline_and_stall(run: RunDirectory, limits: dict[str, float], message: str) -> None:
    one = watch(run, "import time; time.sleep(600)", [], [], **limits)
    with pytest.raises(TimeoutError, match=message):
        one.until_done()
    assert one.machine.poll(one.handle).running, "the caller decides what becomes of it"
    one.machine.stop(one.handle)


def test_a_cancelled_job_is_left_to_the_caller(run: RunDirectory) -> None:
    said: list[str] = []
    one = watch(
        run, "import time; print('on', flush=True); time.sleep(600)", said, [],
        cancelled=lambda: bool(said),
    )  # fmt: skip
    with pytest.raises(NotWantedError):
        one.until_done()
    assert one.machine.poll(one.handle).running
    one.machine.stop(one.handle)


def test_what_the_guard_raises_leaves_the_job_to_the_caller(run: RunDirectory) -> None:
    looks: list[int] = []

    def guard() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise BudgetSpentError("enough")

    one = watch(run, "import time; time.sleep(600)", [], [], guard=guard)
    with pytest.raises(BudgetSpentError, match="enough"):
        one.until_done()
    assert one.machine.poll(one.handle).running
    one.machine.stop(one.handle)


def test_a_watcher_that_attaches_does_not_repeat_the_log(run: RunDirectory) -> None:
    machine = LocalMachine(grace=1.0)
    code = f"""
import time, pathlib
print("before", flush=True)
while not pathlib.Path({str(run.path / "go")!r}).exists(): time.sleep(0.02)
print("after")
"""
    machine.start(Job(run.path, [sys.executable, "-c", code]))
    follower = LogFollower(run)
    while not follower.lines():
        pass
    handle: Handle = machine.start(Job(run.path, ["never"]))
    said: list[str] = []
    second = Watch(machine, handle, run, 1, said.append, lambda _: None, interval=0.02)
    (run.path / "go").touch()
    second.until_done()
    assert said == ["after"]
    assert process_table.members(handle.token) == set()
