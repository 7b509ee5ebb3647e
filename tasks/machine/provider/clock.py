"""The clock of a rental, which tells the time of day as well."""

import time
from typing import Protocol

from tasks.machine.remote import Clock, SystemClock


class RentalClock(Clock, Protocol):
    """Two kinds of time, each for what it is good for.

    Waits are measured by ``now``, which never jumps. Moments that are written down, and read by
    another process or after a reboot of this host, are moments of ``time``: a deadline counted by
    ``now`` would stand still while a laptop sleeps, and its machine is paid for all the same.
    """

    def time(self) -> float:
        """Seconds since the epoch."""


class SystemRentalClock(SystemClock):
    """The clocks of this host."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()
