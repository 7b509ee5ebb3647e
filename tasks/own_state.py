"""What the server takes a flow run for, while its process lives.

Cancelled, although no worker is there to end it: a worker ends the process of a cancelled run by a
signal. Where the worker has died, or the run was started in a terminal, nobody sends one, and the
run would train on in state Cancelling.

Crashed, although it lives: a worker tells a crash twice, the second time when the hooks of the
dead process have ended, which may be after a retry has begun; and heartbeats that a server missed
while it was down look like a death.
"""

import contextlib
import contextvars
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Cancelled, Running

INTERVAL = 3.0  # seconds between two questions
# The worker's own signal may be on its way, and its end of the run is the better one: with hooks.
WORKER_SECONDS = 20.0


@contextlib.contextmanager
def asking(interval: float = INTERVAL) -> Iterator[Callable[[], bool]]:
    """Ask the server in the background whether this flow run is cancelled, and tell it that it
    lives where it is taken for dead.

    A server that does not answer says no, and holds nobody up.
    """
    wanted, over = threading.Event(), threading.Event()
    run = UUID(str(flow_run.id))

    def ask() -> None:
        while not over.wait(interval):
            with contextlib.suppress(Exception), get_client(sync_client=True) as client:
                state = client.read_flow_run(run).state
                if state is None or over.is_set():
                    continue
                if state.type in (StateType.CANCELLING, StateType.CANCELLED):
                    wanted.set()
                    return
                if state.type == StateType.CRASHED:
                    lives: State[None] = Running(message="Taken for dead, but its process lives.")
                    client.set_flow_run_state(run, lives, force=True)

    # The client's settings live in the context, which a thread does not inherit.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(ask,), name="own-state", daemon=True).start()
    try:
        yield wanted.is_set
    finally:
        over.set()


def leave() -> None:
    """End this cancelled flow run: by its worker's signal, or by our own where none comes.

    The signal raises in the main thread; where another thread waits here, it returns.
    """
    get_run_logger().info("cancelled; the job was stopped")
    time.sleep(WORKER_SECONDS)
    _end_as_cancelled()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(WORKER_SECONDS)


def _end_as_cancelled() -> None:
    """Do what a worker does for a cancelled run: its hooks, then its last state.

    The engine takes a signal that no worker has announced for a crash, and forces that state upon
    the server, unless the run that it holds has ended: so its end is told to the engine as well.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow is None:
        return
    run = context.flow_run
    told: State[None] = Cancelled(message="Cancelled; no worker was there to end it.")
    run.state, run.state_name, run.state_type = told, told.name, told.type
    for hook in context.flow.on_cancellation_hooks or ():
        try:
            hook(context.flow, run, told)
        except Exception as error:
            get_run_logger().warning("a hook of the cancellation: %s", error)
    with contextlib.suppress(Exception), get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, told, force=True)
