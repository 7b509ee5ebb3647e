"""The verbs of ``cft machines`` against a real SSH server, real jobs and the contract server."""

import contextlib
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cft.errors import CftError
from cft.home import Home
from cft.tracking.run_directory import RunDirectory
from deployments.cli import machines_command
from tasks.machine import supervisor
from tasks.machine.hire import identity_of
from tasks.machine.host import Host, own_host
from tasks.machine.job import Job
from tasks.machine.jobs import stop_jobs
from tasks.machine.local import LocalMachine
from tasks.machine.login import ssh_words
from tasks.machine.provider.ledger import ledger_of
from tasks.machine.settings import MachineSettings, machine_from
from tasks.machine.ssh_machine import SshMachine
from tasks.machine.watcher import watching
from tests.far import RUN, far_run
from tests.lambda_account import A10, KEY
from tests.lambda_server import serve_lambda
from tests.processes import until
from tests.sshd import USER, Sshd, fingerprint, needs_sshd, public, running

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


def machines(*words, code=0):
    done = CliRunner().invoke(machines_command, words)
    assert done.exit_code == code, (done.output, done.exception)
    return done


def refused(*words) -> str:
    done = CliRunner().invoke(machines_command, words)
    assert isinstance(done.exception, CftError), (done.output, done.exception)
    return str(done.exception)


def ran(words: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )


def diagnosis(*words, code=0):
    told = json.loads(machines("doctor", "--machine", *words, "--json", code=code).stdout)
    assert told["well"] is (code == 0)
    return {one["name"]: one for one in told["findings"]}


def file_of(far, **changes) -> str:
    """A machine's settings as a person would write them."""
    ssh = far.server.settings().model_dump(mode="json")
    values = {"kind": "ssh", "ssh": ssh, "base": str(far.base), "python": sys.executable}
    path = far.folder / "machine.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return str(path)


def test_up_lets_in_and_down_leaves_nothing(server, tmp_path, monkeypatch) -> None:
    home = Home(tmp_path / "home")
    monkeypatch.setenv("CFT_HOME", str(home.path))
    monkeypatch.setenv("LAMBDA_API_KEY", KEY)
    ours = identity_of(home, MachineSettings())
    with server.authorized.open("a") as file:
        file.write(public(ours) + "\n")
    with serve_lambda() as cloud:
        monkeypatch.setattr("tasks.machine.hire.SystemRentalClock", lambda: cloud.clock)
        settings = tmp_path / "rented.yaml"
        settings.write_text(
            yaml.safe_dump(
                {
                    "kind": "lambda",
                    "user": USER,
                    "base": str(tmp_path / "far"),
                    "python": sys.executable,
                    "cloud": {"base_url": cloud.url, "ssh_port": server.port},
                }
            )
        )
        words = ["up", "--machine", str(settings), "--instance-types", A10, "--yes"]
        done = machines(*words, "--max-cost", "3", "--max-duration-hours", "2")
        assert KEY not in done.output
        (living,) = cloud.living
        told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[-8:])
        (entry,) = ledger_of(home).entries().readable
        assert (told["key"], entry.job, entry.instance_id) == (entry.key, "", living.id)
        assert told["instance"] == f"{living.id}, {A10} in us-east-1"
        assert told["price"] == "$0.75/h, at most $3.00"
        assert list(cloud.ssh_keys.values())[-1].split()[:2] == public(ours).split()

        login = shlex.split(told["log"].removeprefix("in").strip())
        assert str(ours) in login
        logged_in = ran([login[0], "-o", "BatchMode=yes", *login[1:], "echo in as $(id -un)"])
        assert logged_in.stdout == f"in as {USER}\n", logged_in.stderr

        found = diagnosis(entry.key)
        assert found["host key"]["text"].startswith(fingerprint(server.host_keys[0]))
        assert "as it was before" in found["host key"]["text"]
        assert not (tmp_path / "far").exists(), "a doctor changes nothing"
        # As a host of one's own: with our key, and with the machine's own pinned.
        word, own = told["train"].split()
        assert word == "--machine"
        assert "it is the pinned one" in diagnosis(own)["host key"]["text"]
        assert machine_from(own).base == str(tmp_path / "far")

        assert f"{entry.key}: gone, after $" in machines("down", entry.key, "--yes").output
        assert cloud.living == []
        assert "is given back" in refused("doctor", "--machine", entry.key)
        assert not cloud.too_fast()


def test_the_doctor_of_a_host(far) -> None:
    found = diagnosis(file_of(far))
    assert {name for name, one in found.items() if one["state"] == "bad"} == set()
    key = fingerprint(far.server.host_keys[0])
    assert found["host key"]["state"] == "note"
    assert f"{key} (ssh-ed25519), seen for the first time" in found["host key"]["text"]
    assert not list(far.home.path.rglob("known_hosts")), "a look is no word of trust"
    assert found["host"]["text"].startswith(f"{USER} on ")
    assert found["clock"]["state"] == "well"
    assert found["tmux"]["state"] == "well"
    assert "not yet there" in found["our folder"]["text"]
    assert not far.base.exists()
    assert found["jobs"]["text"] == "none of ours lives there"

    far.start(far.lease())
    assert found != (found := diagnosis(file_of(far), "--no-gpu"))
    assert found["jobs"]["text"] == f"{RUN} stage1 (running)"
    assert found["host key"]["state"] == "well"
    assert "driver" not in found


def test_the_doctor_says_what_would_keep_a_training_from_running(far) -> None:
    path = file_of(far, python="/nowhere/python")
    found = diagnosis(path, "--no-gpu", code=1)
    assert found["environment"]["state"] == "bad"
    assert found["environment"]["mend"] == "python: name an interpreter that is there"
    shown = machines("doctor", "--machine", path, "--no-gpu", code=1).output
    assert "a training would not run there" in shown
    found = diagnosis(file_of(far, python=None, environment={"min_free_gb": 1000}), "--no-gpu",
                      code=1)  # fmt: skip
    assert "free some space: 1000 GB" in found["environment"]["mend"]
    strange = far.server.settings(identity=far.server.host_keys[0]).model_dump(mode="json")
    found = diagnosis(file_of(far, ssh=strange), code=1)
    assert found.keys() == {"connection"}
    assert "refused" in found["connection"]["text"]
    assert "neither local, lambda" in refused("doctor", "--machine", "nonsense")
    assert "is no machine yet" in refused("doctor", "--machine", "lambda")
    assert "no machine of the ledger" in refused("doctor", "--machine", "0123456789ab")


def test_the_doctor_of_this_machine(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CFT_HOME", str(tmp_path / "home"))
    found = diagnosis("local", "--no-gpu")
    assert set(found) == {"environment", "disk", "jobs"}
    assert not (tmp_path / "home").exists()


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
        assert supervisor.members(handle.token)
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
    assert supervisor.members(handle.token), "who leaves leaves it at work"


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
    assert supervisor.members(handle.token)
    shown = machines("stop", RUN[:8], "--stage", "stage1", "--yes").output
    assert "stage1: killed" in shown
    assert supervisor.members(handle.token) == set()
    assert supervisor.start_time(far.child) is None
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
