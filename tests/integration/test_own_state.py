"""A living run hears that it is cancelled, and corrects a server that takes it for dead."""

import json
import os
import signal
import subprocess
import sys
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling, Crashed

from tasks.own_state import asking
from tests.conftest import ROOT
from tests.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("home")]
INTERVAL = 0.2


def say(state: State[None]) -> None:
    """Tell the server another state of the run that asks, as a worker or a person does."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(str(flow_run.id)), state, force=True)


def said() -> State[None]:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(str(flow_run.id))).state
    assert state is not None
    return state


def test_a_crash_that_is_none_is_corrected() -> None:
    @flow
    def living() -> str:
        with asking(INTERVAL) as cancelled:
            say(Crashed(message="no heartbeat"))
            until(lambda: said().is_running(), 30)
            assert not cancelled()
            return str(said().message)

    assert living() == "Taken for dead, but its process lives."


def test_a_cancellation_is_heard_and_not_corrected() -> None:
    @flow
    def cancelled() -> str:
        with asking(INTERVAL) as asked:
            assert not asked()
            say(Cancelling())
            until(asked, 30)
            return str(said().name)

    assert cancelled() == "Cancelling"


UNATTENDED = """
import json
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Cancelling
from tasks import own_state

own_state.WORKER_SECONDS = 0.2

def say(hook, run, state):
    print(json.dumps([str(run.id), hook, state.name]), flush=True)

def broken(flow, run, state):
    raise ValueError("this hook is broken")

def tell_cancelled(flow, run, state):
    say("cancelled", run, state)

def tell_crashed(flow, run, state):
    say("crashed", run, state)

@task
def train():
    own_state.leave()

@flow(on_cancellation=[broken, tell_cancelled], on_crashed=[tell_crashed])
def unattended():
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Cancelling(), force=True)
    train()

unattended()
"""


def test_without_a_worker_a_cancelled_run_ends_cancelled_and_its_hooks_run() -> None:
    """The engine would call our own signal a crash, and the janitor would take such a run up."""
    settings = {
        "PREFECT_API_URL": PREFECT_API_URL.value(),
        # What a worker says to a flow's process: the hooks of a cancellation are its own affair.
        "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",
    }
    ended = subprocess.run(
        [sys.executable, "-c", UNATTENDED],
        cwd=ROOT,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGTERM
    ((run, hook, state),) = map(json.loads, ended.stdout.splitlines())
    assert (hook, state) == ("cancelled", "Cancelled")
    with get_client(sync_client=True) as client:
        states = sorted(client.read_flow_run_states(UUID(run)), key=lambda one: one.timestamp)
    assert [one.name for one in states][-2:] == ["Cancelling", "Cancelled"]
