"""Worker and flow killed together, as when a host is lost: no hook runs, the server sees it."""

import time
from collections.abc import Iterator
from uuid import UUID

import pytest
from prefect.client.schemas.objects import StateType
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter

from cft.home import Home
from deployments.deploy.apply import deploy
from deployments.deploy.automations import HEARTBEAT, MESSAGE, MISSED
from deployments.deploy.ntfy import DIED
from deployments.deploy.wanted import Wanted
from tests.integration.prefect_server import PrefectServer, prefect_server, worker
from tests.ntfy import Sink, serve_ntfy

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]
SECONDS = 30  # the least that Prefect allows between two heartbeats
TOPIC, TOKEN = "cft-of-a-test", "tk_of_a_test"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with serve_ntfy() as one:
        one.token = TOKEN
        yield one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[PrefectServer]:
    with (
        prefect_server(tmp_path_factory.mktemp("prefect")) as one,
        pytest.MonkeyPatch.context() as m,
    ):
        m.setenv("CFT_NTFY_URL", sink.url)
        m.setenv("CFT_NTFY_TOPIC", TOPIC)
        m.setenv("CFT_NTFY_TOKEN", TOKEN)
        home = Home(tmp_path_factory.mktemp("state")).path
        wanted = Wanted(home=home, only=("prepare/pilot",), heartbeat_seconds=SECONDS)
        with one.client():
            assert all(change.what == "created" for change in deploy(wanted))
        yield one


def beats(server: PrefectServer, run: UUID) -> int:
    """Heartbeats of a run that have reached the server."""
    resource = EventResourceFilter(id=[f"prefect.flow-run.{run}"])
    chosen = EventFilter(event=EventNameFilter(name=[HEARTBEAT]), resource=resource)
    with server.client() as client:
        answer = client.request(
            "POST", "/events/filter", json={"filter": chosen.model_dump(mode="json")}
        )
    return int(answer.json()["total"])


def test_a_run_whose_host_is_lost_is_crashed_and_pushed(server: PrefectServer, sink: Sink) -> None:
    run = server.start("prepare/pilot", recipe={"name": "lost", "data": {"seed": 3}})
    with worker(server, "cpu"):
        server.wait_for(run.id, lambda one: one.state.is_running() and beats(server, run.id) > 0)
    killed = time.monotonic()  # leaving the block killed the worker and the flow below it
    assert not sink.received
    ended = server.wait_for(run.id, lambda one: one.state.is_final(), 20 * SECONDS)
    assert ended.state.type is StateType.CRASHED
    assert ended.state.message == MESSAGE
    assert time.monotonic() - killed > (MISSED - 1) * SECONDS, "a slow host is not a dead one"
    message = sink.wait_for("died unseen", 60)
    assert (message.topic, message.token) == (TOPIC, TOKEN)
    assert message.title == f"prepare {ended.name}: died unseen"
    assert (message.priority, message.tags) == (DIED["priority"], DIED["tags"]) == (5, ["skull"])
    assert f"No sign of life for {MISSED * SECONDS} s" in message.message
    assert f"runs/flow-run/{run.id}" in message.message
    time.sleep(5)
    assert len(sink.received) == 1, "once, and no hook beside it"
