"""No more requests than a provider allows, however many threads and clients ask it."""

import random
import threading

from tasks.machine.remote import Clock


class Pacer:
    """Keeps requests apart.

    Args:
        request_seconds: from one request to the next.
        launch_seconds: from one launch to the next.
    """

    def __init__(self, request_seconds: float, launch_seconds: float) -> None:
        self.request_seconds = request_seconds
        self.launch_seconds = launch_seconds
        self._lock = threading.Lock()
        self._free = 0.0
        self._launch_free = 0.0
        self._begun = False

    def wait(self, clock: Clock, launch: bool = False) -> None:
        """Return when the next request may be sent, which then counts as sent.

        A launch that waits for its turn does not keep other requests waiting.
        """
        while True:
            with self._lock:
                now = clock.now()
                if not self._begun:  # a clock may begin anywhere
                    self._free, self._launch_free, self._begun = now, now, True
                until = max(self._free, self._launch_free) if launch else self._free
                if until <= now:
                    self._free = now + self.request_seconds
                    if launch:
                        self._launch_free = now + self.launch_seconds
                    return
            clock.sleep(until - now)

    def hold(self, clock: Clock, seconds: float) -> None:
        """Let nobody send anything for so long, since the provider asked for it."""
        with self._lock:
            self._free = max(self._free, clock.now() + seconds)


_PACERS: dict[str, Pacer] = {}
_PACERS_LOCK = threading.Lock()


def pacer_of(place: str, request_seconds: float, launch_seconds: float) -> Pacer:
    """The one pacer of this process for a provider at an address."""
    with _PACERS_LOCK:
        return _PACERS.setdefault(place, Pacer(request_seconds, launch_seconds))


def backoff(attempt: int, first: float, most: float) -> float:
    """Seconds before the next try: full jitter under a bound that doubles up to ``most``.

    Many clients that failed at one moment must not come back at one moment.

    Args:
        attempt: 0 after the first failure.
        first: bound of the first pause, in seconds.
        most: bound of all later ones, in seconds.
    """
    return random.uniform(0, min(most, first * 2 ** min(attempt, 30)))
