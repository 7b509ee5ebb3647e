"""Which Prefect server this process speaks to, its events included."""

import contextlib
from collections.abc import Iterator

from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings


@contextlib.contextmanager
def speaking_to(url: str) -> Iterator[None]:
    """Speak to the Prefect server at ``url`` while the block runs.

    Prefect keeps one sender of events a process, whose server is that of the first event. Left
    alone it would go on sending there, also once that server is dead: every state of a task run
    is such an event, and so is every heartbeat.
    """
    EventsWorker.drain_all(timeout=60)
    with temporary_settings({PREFECT_API_URL: url}):
        try:
            yield
        finally:
            EventsWorker.drain_all(timeout=60)
