"""`cft up` for real: it comes up, mends itself, is found again, and leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.states import Running

from cft.home import Home
from deployments.stack.lock import down
from deployments.stack.members import members, running_flow_runs
from flows.living_stack import is_up, read_record
from tests.conftest import ROOT
from tests.integration.prefect_processes import flow_processes
from tests.integration.server import free_port
from tests.integration.speaking import speaking_to
from tests.integration.stack_flows import with_a_job
from tests.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]
HIDDEN = ("PREFECT_", "MLFLOW_", "CFT_")


class Stack:
    """`cft` in a state folder of its own."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(HIDDEN)} | {
            "CFT_HOME": str(path), "PYTHONPATH": str(ROOT), "COLUMNS": "150",
        }  # fmt: skip

    def cft(self, *words: str, code: int = 0) -> str:
        ended = subprocess.run(
            command(*words), cwd=self.home.path.parent, env=self.env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def start(self, *words: str, under: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*under, *command(*words)], cwd=self.home.path.parent, env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def service(self, name: str) -> dict[str, Any]:
        return next(one for one in read_record(self.home)["services"] if one["name"] == name)

    def left(self) -> set[int]:
        return members(read_record(self.home)["token"])


def command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "cft.cli", *words]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Started twice at the same moment, behind a proxy that does not answer."""
    one = Stack(tmp_path_factory.mktemp("state") / "home")
    one.home.path.mkdir()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        one.env["WANTED"] = str(port)
        words = ["--prefect-port", str(port), "--mlflow-port", str(free_port())]
        one.env["http_proxy"] = f"http://127.0.0.1:{free_port()}"
        both = [one.start("up", "--detach", *words) for _ in range(2)]
        said = [each.communicate(timeout=600)[0] for each in both]
        assert [each.returncode for each in both] == [0, 0], said
        one.said = said  # type: ignore[attr-defined]
    yield one
    one.cft("down", "--yes")
    assert one.left() == set()


def test_it_comes_up_on_free_ports_and_tells_where(stack: Stack) -> None:
    (said, other), record = stack.said, read_record(stack.home)  # type: ignore[attr-defined]
    assert record["state"] == "ready"
    assert [one["name"] for one in record["services"]] == [
        "prefect", "mlflow", "worker-cpu", "worker-gpu",
    ]  # fmt: skip
    port = int(stack.service("prefect")["url"].rpartition(":")[2])
    assert port > int(stack.env["WANTED"]), "the wanted one was taken"
    for one in record["services"]:
        assert one["state"] == "well"
        assert one["url"] in said
        assert one["url"] in other
        assert Path(one["log"]).exists()
    for name, value in record["clients"].items():
        assert f"export {name}={value}" in said
    shown = json.loads(stack.cft("status", "--json"))
    assert shown["up"]
    assert shown["services"] == record["services"]
    assert "token" not in shown
    listening = {one.laddr.ip for pid in stack.left() for one in ears(pid)}
    assert listening == {"127.0.0.1"}
    for folder in (stack.home.prefect, stack.home.mlflow_database.parent, stack.home.stack):
        assert folder.stat().st_mode & 0o077 == 0, "keys of the blocks lie there"


def ears(pid: int) -> list[Any]:
    found = psutil.Process(pid).net_connections("inet")
    return [one for one in found if one.status == psutil.CONN_LISTEN]


def test_a_second_one_finds_the_first(stack: Stack) -> None:
    before = read_record(stack.home)
    assert stack.service("mlflow")["url"] in stack.cft("up", "--detach")
    attached = stack.start("up")
    time.sleep(3)
    attached.send_signal(signal.SIGINT)
    said, _ = attached.communicate(timeout=30)
    assert "the stack is up already" in said
    assert stack.service("prefect")["url"] in said
    assert attached.returncode == 0
    assert read_record(stack.home) == before, "Ctrl-C left it running"


def test_what_is_killed_comes_back(stack: Stack) -> None:
    (serving,) = psutil.Process(stack.service("mlflow")["pid"]).children()
    serving.suspend()  # what has the port hangs, and lives on when its parent dies
    for name in ("prefect", "mlflow", "worker-gpu"):
        before = stack.service(name)
        psutil.Process(before["pid"]).kill()

        def back(name: str = name, before: dict[str, Any] = before) -> bool:
            now = stack.service(name)
            return bool(now["state"] == "well" and now["pid"] not in (None, before["pid"]))

        until(back, 180)
        assert stack.service(name)["restarts"] == 1
    assert not serving.is_running()
    stack.cft("status")


def test_down_asks_and_then_ends_runs_and_their_jobs_as_well(stack: Stack, tmp_path: Path) -> None:
    api = read_record(stack.home)["clients"]["PREFECT_API_URL"]
    with speaking_to(api), get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            client.create_flow(with_a_job),
            "stack",
            entrypoint="tests.integration.stack_flows.with_a_job",
            work_pool_name="cpu",
            pull_steps=[
                {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
            ],
        )
        run = str(
            client.create_flow_run_from_deployment(
                deployment, parameters={"folder": str(tmp_path / "job")}
            ).id
        )
        # As one from a terminal, whose process is none of the stack's.
        other = client.create_flow_run(with_a_job, state=Running()).id
    status = tmp_path / "job" / "status.json"
    until(lambda: status.exists() and "running" in status.read_text(encoding="utf-8"), 120)
    assert run in running_flow_runs(read_record(stack.home)["token"])

    asked = stack.cft("down", code=1)
    assert f"flow run {run}\n" in asked
    assert f"flow run {other}, which no worker here has started: it loses its server" in asked
    assert "Aborted" in asked
    assert is_up(stack.home)

    assert "the stack is down" in stack.cft("down", "--yes")
    assert stack.left() == set()
    assert flow_processes(run) == []
    assert json.loads(status.read_text(encoding="utf-8"))["state"] == "killed"
    assert not is_up(stack.home)
    assert "stopped" in stack.cft("status", code=1)
    assert "nothing was up" in stack.cft("down")

    # The server was told before it went: its record does not say Running for ever.
    stack.cft("up", "--detach", "--pool", "cpu")
    api = read_record(stack.home)["clients"]["PREFECT_API_URL"]
    with speaking_to(api), get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
    assert state is not None
    assert state.is_final(), state


def test_what_a_killed_supervisor_leaves_is_ended_by_whoever_comes(stack: Stack) -> None:
    record = read_record(stack.home)
    psutil.Process(record["pid"]).kill()
    until(lambda: not is_up(stack.home))
    assert len(stack.left()) >= 3, "its servers and worker live on"
    assert "dead" in stack.cft("status", code=1)
    # Not asked: the janitor's schedule may have begun a run in the meantime.
    assert "the stack is down" in stack.cft("down", "--yes")
    assert stack.left() == set()


@pytest.mark.parametrize(("number", "closed"), [(signal.SIGINT, False), (signal.SIGHUP, True)])
def test_a_signal_ends_it_at_any_moment(tmp_path: Path, number: int, closed: bool) -> None:
    """Also when the terminal that it would tell of its end is gone."""
    stack = Stack(tmp_path / "home")
    stack.home.path.mkdir()
    # Who runs the tests may ignore a SIGHUP, and what is started inherits that.
    usual = ("env", "--default-signal=HUP")
    ports = ["--prefect-port", str(free_port()), "--mlflow-port", "5100"]
    process = stack.start("up", *ports, under=usual)
    try:
        until(lambda: read_record(stack.home).get("services"), 60)
        token = read_record(stack.home)["token"]
        until(lambda: len(members(token)) >= 2, 30)
        if closed:
            process.stdout.close()
        process.send_signal(number)
        process.wait(60)
        assert members(token) == set()
        assert read_record(stack.home)["state"] == "stopped"
        if not closed:
            assert process.returncode == 0
            assert process.stdout.read().endswith("stack: stopped\n")
    finally:
        down(stack.home)


def test_nohup_keeps_it_up_when_the_terminal_is_closed(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home")
    stack.home.path.mkdir()
    ports = ["--prefect-port", str(free_port()), "--mlflow-port", str(free_port())]
    process = stack.start("up", *ports, under=("nohup",))
    try:
        until(lambda: read_record(stack.home).get("services"), 60)
        process.send_signal(signal.SIGHUP)
        time.sleep(2)
        assert process.poll() is None
        assert read_record(stack.home)["state"] == "starting"
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert stack.left() == set()
    finally:
        down(stack.home)


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home")
    stack.home.path.write_text("a file where a folder should be")
    for words in (["up"], ["up", "--detach"]):
        said = stack.cft(*words, code=2)
        assert said.startswith(f"error: {stack.home.stack}: Not a directory; let CFT_HOME name")
    stack.home.path.unlink()
    log = stack.home.stack / "logs" / "supervisor.log"
    log.mkdir(parents=True)
    said = stack.cft("up", "--detach", code=2)
    assert said.startswith(f"error: {log}: Is a directory; let CFT_HOME name")


def test_a_server_that_cannot_start_says_why_and_takes_the_rest_along(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home")
    stack.home.mlflow_database.parent.mkdir(parents=True)
    stack.home.mlflow_database.write_text("this is no database " * 200)
    said = stack.cft("up", "--detach", "--prefect-port", str(free_port()), code=2)
    assert said.startswith("error: mlflow does not come up: it ended with 1.")
    assert str(stack.home.stack / "logs" / "mlflow.log") in said
    assert "file is not a database" in said
    assert stack.left() == set()
    assert stack.home.mlflow_database.read_text().startswith("this is no database"), "left alone"
