"""Commands on this host: bounded, with whatever they started."""

import hashlib
import os
import time
from pathlib import Path

from tasks.machine.remote import LocalRemote, Result
from tests.processes import until


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_output_and_exit_code() -> None:
    result = LocalRemote().run("echo out; echo err >&2; exit 7", timeout=60)
    assert result == Result(7, "out\n", "err\n")
    assert not result.ok
    assert result.last_words == "err"


def test_a_command_without_input_reads_nothing_and_does_not_wait() -> None:
    assert LocalRemote().run("cat", timeout=60) == Result(0)


def test_input_arrives_byte_by_byte() -> None:
    sent = bytes(range(256)) * 4000
    result = LocalRemote().run("sha256sum; true", timeout=60, stdin=sent)
    assert result.stdout.split()[0] == hashlib.sha256(sent).hexdigest()


def test_much_on_both_streams_does_not_block() -> None:
    command = "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero"
    result = LocalRemote().run(command, timeout=60)
    assert (len(result.stdout), len(result.stderr)) == (3000000, 3000000)


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert LocalRemote().run("printf 'a\\377b'", timeout=60).stdout == "a\ufffdb"


def test_the_timeout_ends_the_whole_group_and_the_outcome_is_unknown(tmp_path: Path) -> None:
    command = f"sleep 600 & echo $! > {tmp_path}/pid; echo begun; wait"
    began = time.monotonic()
    result = LocalRemote().run(command, timeout=1)
    assert result.exit_code is None
    assert result.stdout == "begun\n"
    assert time.monotonic() - began < 60
    child = int((tmp_path / "pid").read_text())
    until(lambda: not lives(child))


def test_a_process_that_left_lives_on_as_it_would_behind_ssh(tmp_path: Path) -> None:
    command = f"setsid sh -c 'echo $$ > {tmp_path}/pid; sleep 600' & sleep 600"
    result = LocalRemote().run(command, timeout=1)
    assert result.exit_code is None
    child = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    try:
        assert lives(child)
    finally:
        os.killpg(child, 9)


def test_a_signal_is_what_a_shell_would_say() -> None:
    assert LocalRemote().run("kill -9 $$", timeout=60).exit_code == 137
