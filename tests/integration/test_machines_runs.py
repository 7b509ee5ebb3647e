"""``cft machines logs``, ``attach`` and ``stop`` of real jobs, here and behind an SSH server."""

import contextlib
import os
import pty
import re
import select
import shlex
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cft.home import Home
from cft.tracking.run_directory import RunDirectory
from deployments.cli import machines_command
from tasks.machine import process_table
from tasks.machine.host import Host, own_host
from tasks.machine.job import Job
from tasks.machine.jobs import stop_jobs
from tasks.machine.local import LocalMachine
from tasks.machine.login import ssh_words
from tasks.machine.ssh_machine import SshMachine
from tasks.machine.watcher import watching
from tests.far import RUN, far_run
from tests.machines_command import machines, ran, refused
from tests.processes import until
from tests.sshd import USER, Sshd, needs_sshd, public, running

pytestmark = [
    pytest.mark.integration,
    needs_sshd,
    pytest.mark.skipif(
        shutil.which("tmux") is None or shutil.which("ssh") is None, reason="no tmux or ssh here"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@pytest.fixture
def far(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CFT_HOME", str(tmp_path / "home"))
    with far_run(server, tmp_path) as far:
        yield far


def test_attach_leads_into_the_jobs_own_session(far, server) -> None:
    far.start(far.lease())
    done = machines("attach", RUN[:6], "--print")
    words = shlex.split(done.stdout)
    assert words[:2] == ["ssh", "-t"]
    assert "StrictHostKeyChecking=yes" in words
    assert str(server.client_key) in words
    assert " attach -r -t " in words[-1]
    there = words[-1].replace("attach -r -t", "has-session -t")
    plain = ["ssh", "-o", "BatchMode=yes", *words[2:-1]]
    assert (seen := ran([*plain, there])).returncode == 0, seen.stderr
    assert ran([*plain, there[:-1] + "x'"]).returncode != 0, "a session that is not there"
    # A host that shows another key is not let near the terminal.
    file = next(Path(far.home.path).rglob("known_hosts"))
    file.write_text(f"[127.0.0.1]:{server.port} {public(server.client_key)}\n")
    other = ran([*plain, there])
    assert other.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in other.stderr


def test_attach_shows_the_job_takes_no_keys_and_is_left_as_tmux_is(far) -> None:
    handle = far.start(far.lease())
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        words = [sys.executable, "-m", "cft.cli", "machines", "attach", RUN[:6]]
        os.execv(words[0], words)
    seen, ended = b"", []

    def shown():
        nonlocal seen
        if select.select([terminal], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # it has ended
                seen += os.read(terminal, 65536)
        return f"child {far.child}".encode() in seen

    try:
        until(shown, 60)
        os.write(terminal, b"\x03")  # to the job it would be the end
        time.sleep(0.5)
        assert process_table.members(handle.token)
        os.write(terminal, b"\x02d")

        def left():
            shown()
            found, status = os.waitpid(pid, os.WNOHANG)
            ended.extend([os.waitstatus_to_exitcode(status)] if found else [])
            return ended

        assert until(left, 30) == [0]
    finally:
        os.close(terminal)
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert process_table.members(handle.token), "who leaves leaves it at work"


def test_the_systems_ssh_goes_through_the_host_in_between(server, tmp_path) -> None:
    hop = server.settings().model_dump(include={"host", "port", "user", "identity"})
    # As the host of the host's own view: another name, so that each key is looked for.
    ssh = server.settings(host="localhost", jump=hop)
    host = Host("far", ssh, tmp_path / "with a blank" / "known_hosts")
    with host.connect() as connection:
        assert connection.run("true").ok
    words = ssh_words(host)
    assert any("ProxyCommand=" in word for word in words)
    seen = ran([words[0], "-o", "BatchMode=yes", *words[1:], "echo $SSH_CONNECTION"])
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.split()[3] == str(server.port)
    file = host.known_hosts
    jump_line, _ = file.read_text().splitlines()
    file.write_text(jump_line + "\n")
    assert ran([words[0], "-o", "BatchMode=yes", *words[1:], "true"]).returncode == 255


def test_stop_ends_the_job_on_its_host_and_attach_has_nothing_left(far) -> None:
    handle = far.start(far.lease())
    done = CliRunner().invoke(machines_command, ["stop", RUN], input="n\n")
    assert done.exit_code == 1
    assert f"stage1 of {RUN}, on {USER}@127.0.0.1" in done.output
    assert process_table.members(handle.token)
    shown = machines("stop", RUN[:8], "--stage", "stage1", "--yes").output
    assert "stage1: killed" in shown
    assert process_table.members(handle.token) == set()
    assert process_table.start_time(far.child) is None
    assert (far.run.checkpoints / "checkpoint-1").is_dir()
    assert "no job of it lives" in machines("stop", RUN, "--yes").output
    assert "stage1 has ended (killed" in refused("attach", RUN)


@contextlib.contextmanager
def watched(far, handle, machine):
    """Somebody mirrors the job until it has ended, as a flow does."""

    def watch():
        with watching(far.run.path), own_host(far.home, machine).connect() as connection:
            there = SshMachine(connection, str(far.base), say=lambda line: None)
            began.set()
            while there.poll(handle).running:
                time.sleep(0.1)

    began, thread = threading.Event(), threading.Thread(target=watch)
    thread.start()
    assert began.wait(30)
    try:
        yield
    finally:
        thread.join(60)


def test_logs_follow_a_job_on_a_host_until_it_has_ended(far) -> None:
    machine = far.lease()
    handle = far.start(machine)
    (far.run.path.parent / "machine-20260101000000.log").write_text("the host is ready\n")
    plain = machines("logs", RUN[:4], "--lines", "5").stdout
    assert plain.startswith("the host is ready\n")
    assert f"child {far.child}" in plain
    with watched(far, handle, machine):
        threading.Timer(2.0, (far.there / "go").touch).start()
        followed = machines("logs", RUN, "--stage", "stage1", "--follow")
    assert followed.stdout == f"child {far.child}\ndone\n"
    assert "stage1: finished" in followed.stderr


def test_logs_of_a_job_that_nobody_watches_say_so(far, monkeypatch) -> None:
    monkeypatch.setattr("tasks.machine.run_logs.UNWATCHED_SECONDS", 0.5)
    far.start(far.lease())
    done = CliRunner().invoke(machines_command, ["logs", RUN, "--follow"])
    assert f"child {far.child}" in done.stdout
    assert "nobody watches its stage1" in str(done.exception)


def test_logs_and_stop_of_a_job_that_runs_here(tmp_path, monkeypatch) -> None:
    home = Home(tmp_path / "home")
    monkeypatch.setenv("CFT_HOME", str(home.path))
    assert "there are no runs" in refused("logs", "a")
    code = """
import pathlib, sys, time
print("begins", flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.05)
print("ends", flush=True)
"""
    for name in ("aaaa-1", "aaaa-2"):
        run = RunDirectory(home.runs / name / "stage1")
        go = tmp_path / name
        LocalMachine(1.0).start(Job(run.path, [sys.executable, "-c", code, str(go)]))
    try:
        threading.Timer(2.0, (tmp_path / "aaaa-1").touch).start()
        followed = machines("logs", "aaaa-1", "--follow", "--lines", "0").stdout
        assert followed.endswith("ends\n")
        assert "stage1: finished" in machines("logs", "aaaa-1", "--follow").stderr
        assert "several begin so" in refused("logs", "aaaa")
        said = refused("logs", "b")
        assert re.search(r"The newest there: aaaa-[12] \(\d{4}-.*UTC\), aaaa-", said)
        assert "stage 'stage2': run aaaa-2 has stage1" in refused(
            "logs", "aaaa-2", "--stage", "stage2"
        )
        assert "logs aaaa-2 --follow" in refused("attach", "aaaa-2")
        assert "stage1: killed" in machines("stop", "aaaa-2", "--yes").output
        until(lambda: RunDirectory(home.runs / "aaaa-2" / "stage1").read_status()["stopped"])
    finally:
        for name in ("aaaa-1", "aaaa-2"):
            stop_jobs(home, name, grace=0.5)
