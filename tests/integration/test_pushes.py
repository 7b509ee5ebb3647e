"""What a phone gets of real runs: completed, failed, retried, terminated; from a real server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL
from prefect.states import Scheduled

from cft.errors import CftError
from cft.home import Home
from cft.recipe import Recipe
from flows.hooks import tell_completed, tell_crashed
from flows.two_stage import two_stage
from tasks.machine.jobs import stop_jobs
from tasks.notify import events, flush_outbox
from tasks.notify.block import NtfyBlock
from tasks.notify.settings import find_settings
from tasks.train import TrainingError
from tests.integration.pushed_flows import refuses, waits
from tests.integration.strikes import Striker, kill_rank
from tests.ntfy import Sink, serve_ntfy
from tests.processes import until

pytestmark = pytest.mark.integration

TOPIC, TOKEN = "cft-integration-4711", "tk_integration0815"


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Sink]:
    """A sink that the block on the Prefect server leads to."""
    with serve_ntfy() as sink:
        sink.token = TOKEN
        NtfyBlock(server=sink.url, topic=TOPIC, token=TOKEN).save("default", overwrite=True)
        yield sink
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name("default", "cft-ntfy")
        client.delete_block_document(document.id)


@pytest.fixture
def sink(server: Sink) -> Sink:
    server.received.clear()  # a fixture that runs a flow pushes as well, and comes before this one
    server.down = server.hang = False
    return server


def page(flow_run_id: str) -> str:
    return f"{PREFECT_UI_URL.value().rstrip('/')}/runs/flow-run/{flow_run_id}"


def read(flow_run_id: str) -> Any:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(flow_run_id))


def test_the_block_is_read_with_its_secrets(sink: Sink) -> None:
    found = find_settings()
    assert found is not None
    assert (found.server, found.topic, found.token, found.started) == (
        sink.url, TOPIC, TOKEN, False,
    )  # fmt: skip


@pytest.fixture
def champion(home: Home, first_run: dict[str, Any]) -> Iterator[None]:
    """The first run's version is champion."""
    client = MlflowClient(home.tracking_uri, home.tracking_uri)
    client.set_registered_model_alias(first_run["model"], "champion", first_run["version"])
    yield
    client.delete_registered_model_alias(first_run["model"], "champion")


def test_a_run_that_completes(champion, sink: Sink, home: Home, tiny: Recipe) -> None:
    result = two_stage(tiny)
    (got,) = sink.received
    assert (got.topic, got.token) == (TOPIC, TOKEN)
    assert got.title == "two-stage completed: tiny"
    assert (got.priority, set(got.tags)) == (3, {"white_check_mark", "cft", "two-stage"})
    first, *lines = got.message.splitlines()
    assert first.endswith(", exit code 0")
    assert lines[0].startswith("Cross-lingual MRR 0.")
    # The same data, the same seeds: the same figures as the champion's.
    assert all("(champion " in line and ", +0.000)" in line for line in lines[:2])
    assert f"cft-embedder version {result['version']}" in lines
    assert got.click == page(result["flow_run_id"])
    experiment, run = result["mlflow_experiment_id"], result["mlflow_run_id"]
    assert got.url_of("MLflow").endswith(f"/#/experiments/{experiment}/runs/{run}")
    assert flush_outbox(home) == 0


def test_a_run_whose_training_fails(first_run, sink: Sink, home: Home, tiny: Recipe) -> None:
    stage1 = tiny.stage1.model_copy(update={"max_steps": 100_000})
    striker = Striker(home, kill_rank, steps=2)
    striker.start()
    with pytest.raises(TrainingError):
        two_stage(tiny.model_copy(update={"name": "struck", "stage1": stage1}))
    striker.join()
    (got,) = sink.received
    assert got.title == "two-stage failed: struck"
    assert (got.priority, set(got.tags)) == (4, {"x", "cft", "two-stage"})
    first, reason, *_ = got.message.splitlines()
    assert first.endswith(", exit code 1")
    assert reason.startswith("TrainingError: stage1: the training process failed with exit code 1")
    assert striker.run_directory is not None
    assert got.click == page(striker.run_directory.path.parent.name)
    assert "/runs/" in got.url_of("MLflow"), "found by the run's id: there is no result to read"


def test_a_retried_run_tells_its_new_ending(sink: Sink, home: Home, caplog) -> None:
    with pytest.raises(CftError):
        refuses("धर्मः")
    (failed,) = sink.received
    assert failed.title == "refuses failed: धर्मः"
    duration, *reason = failed.message.splitlines()
    assert duration.endswith(" s"), "no job, so no exit code"
    assert reason == ["CftError: train.tsv: row 3, field sent1: empty", "and run again"]
    assert failed.click is not None
    flow_run_id = failed.click.rpartition("/")[2]
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(flow_run_id), Scheduled(name="AwaitingRetry"), force=True)
    from prefect.flow_engine import run_flow

    run_flow(refuses, flow_run=read(flow_run_id), parameters={"title": "धर्मः"})
    assert [one.title for one in sink.received[1:]] == ["refuses completed: धर्मः"]
    assert sink.received[1].message.splitlines()[0].endswith("attempt 2")
    again = read(flow_run_id)
    tell_completed(refuses, again, again.state)
    assert len(sink.received) == 2, "told in a second place, pushed once"
    assert TOPIC not in caplog.text
    assert TOKEN not in caplog.text


def test_the_start_is_pushed_where_that_is_wanted(sink: Sink, monkeypatch) -> None:
    monkeypatch.setenv("CFT_NTFY_STARTED", "1")
    with pytest.raises(CftError):
        refuses("begins")
    got = sink.wait_for("refuses started: begins")
    assert (got.priority, got.actions) == (2, [])
    assert sink.wait_for("refuses failed: begins")


@pytest.mark.parametrize("fault", ["down", "hang"])
def test_a_server_that_is_away_delays_little_and_fails_nothing(
    sink: Sink, home: Home, fault: str
) -> None:
    setattr(sink, fault, True)
    began = time.monotonic()
    with pytest.raises(CftError, match="row 3"):
        refuses(f"while {fault}")
    assert time.monotonic() - began < 17  # of these the run itself takes some
    assert sink.received == []
    setattr(sink, fault, False)
    assert flush_outbox(home) == 1
    assert [one.title for one in sink.received] == [f"refuses failed: while {fault}"]


DRIVER = """
from flows.console import end_on_signals
from tests.integration.pushed_flows import waits
end_on_signals()
waits("terminated")
"""


def test_a_process_that_is_terminated(sink: Sink, home: Home, tmp_path: Path) -> None:
    before = set(home.runs.glob("*/pid"))
    with (tmp_path / "out.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()},
        )
    (pid,) = until(lambda: set(home.runs.glob("*/pid")) - before, 120)
    flow_run_id = pid.parent.name
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    try:
        got = sink.wait_for("waits crashed: terminated")
        assert (got.priority, set(got.tags)) == (5, {"skull", "cft", "waits"})
        assert "aborted" in got.message
        assert "Its training goes on unwatched" in got.message
        assert got.click == page(flow_run_id)
        run = read(flow_run_id)
        tell_crashed(waits, run, run.state)
        assert len(sink.received) == 1
    finally:
        assert [job.stage for job in stop_jobs(home, flow_run_id)] == ["stage1"]
    said = (tmp_path / "out.txt").read_text(encoding="utf-8")
    assert TOPIC not in said
    assert TOKEN not in said


def test_events_within_a_flow(sink: Sink, home: Home) -> None:
    about: dict[str, Any] = {
        "model": "cft-embedder",
        "version": "7",
        "flow_run_id": "0f",
        "home": home,
    }
    assert events.gate_passed(**about, champion="3", lines=["MRR +0.018 [0.004, 0.031]"])
    assert events.gate_refused(**about, champion="3", reasons=[f"slice {n}" for n in range(20)])
    assert events.champion_changed(**about, previous="3", reason="gate passed")
    assert events.approval_wanted(**about, champion="3", hours=72)
    assert events.gate_passed(**about, champion="3"), "a repeated step"
    passed, refused, changed, wanted = sink.received
    assert passed.title == "Gate passed: cft-embedder version 7"
    assert passed.message.splitlines() == ["Passed against version 3.", "MRR +0.018 [0.004, 0.031]"]
    assert refused.title == "Gate refused: cft-embedder version 7"
    assert refused.message.splitlines()[-1] == "and 9 more lines in the report"
    assert changed.message.splitlines() == ["It replaces version 3.", "gate passed"]
    assert wanted.priority == 5
    assert wanted.message.startswith("Open the run, press Resume and decide within 72 h.")
    for one in sink.received:
        assert one.click == page("0f")
        assert one.url_of("Version in MLflow").endswith("/#/models/cft-embedder/versions/7")


async def _automation(block: NtfyBlock) -> None:
    with block.raise_on_failure():
        await block.notify("the host is gone", "two-stage crashed")


def test_the_block_pushes_for_automations(sink: Sink) -> None:
    import asyncio

    from prefect.blocks.notifications import NotificationError

    block = NtfyBlock.load("default")
    asyncio.run(_automation(block))
    assert sink.received[0].title == "two-stage crashed"
    sink.down = True
    with pytest.raises(NotificationError):
        asyncio.run(_automation(block))
    asyncio.run(block.notify("nobody hears it"))
    assert TOPIC not in repr(block)
    assert TOKEN not in repr(block)
