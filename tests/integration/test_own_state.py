"""A living run hears that it is cancelled, and corrects a server that takes it for dead."""

from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelling, Crashed

from tasks.own_state import asking
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
            return said().name

    assert cancelled() == "Cancelling"
