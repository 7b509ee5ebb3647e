"""Work that is waited for so long and no longer."""

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, work: Callable[..., T], *arguments: object) -> T:
    """What ``work`` returns or raises, if it is done in time.

    Timeouts of sockets are no bound: they begin anew with every byte, and looking up a name has
    none. Work that is late goes on in its thread, which ends with the process at the latest.

    Raises:
        TimeoutError: it is not done; nobody waits for it any more.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    # Prefect keeps its settings in the context, which a new thread does not inherit.
    context = contextvars.copy_context()

    def run() -> None:
        try:
            results.append(context.run(work, *arguments))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="cft-notify", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"not done within {max(0.0, seconds):.0f} s")
    return results[0]
