"""What is told of a machine that is not gone yet, and goes on costing money."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger("cft.machine")


@dataclass(frozen=True)
class Alarm:
    """A machine that is not gone yet, and why."""

    key: str
    instance_ids: tuple[str, ...]
    cents_per_hour: int
    console_url: str
    problem: str
    seconds: float  # since its release began

    def __str__(self) -> str:
        which = ", ".join(self.instance_ids) or f"a machine cft-...-{self.key}, if there is one,"
        return (
            f"{which} at ${self.cents_per_hour / 100:.2f}/h is not released after "
            f"{self.seconds / 60:.0f} minutes ({self.problem}); end it by hand at "
            f"{self.console_url}"
        )


OnAlarm = Callable[[Alarm], object]


def log_alarm(alarm: Alarm) -> None:
    """The alarm of whoever has no better one."""
    logger.critical("%s", alarm)
