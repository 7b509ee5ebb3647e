"""What a rental costs, and when it will have cost so much: pure arithmetic."""

import math

WARN_SHARE = 0.8


def cost_cents(cents_per_hour: int, since: float, now: float) -> float:
    """What a machine has cost in US cents: every minute that has begun counts.

    Args:
        cents_per_hour: its price.
        since: when its launch was asked for, in seconds. Billing begins somewhat later (with the
            first passed health check), so this is never too low.
        now: the same clock.
    """
    return cents_per_hour * math.ceil(max(0.0, now - since) / 60) / 60


def moment_of_cost(cents_per_hour: int, max_cost: float, since: float, share: float = 1.0) -> float:
    """When a machine will have cost a share of a cap, in seconds on the clock of ``since``.

    Infinite for a machine that costs nothing.

    Args:
        cents_per_hour: its price.
        max_cost: the cap in US dollars.
        since: when its launch was asked for.
        share: 0.8 for the moment of the warning (:data:`WARN_SHARE`).
    """
    if cents_per_hour <= 0:
        return math.inf
    return since + max_cost * 100 * share / cents_per_hour * 3600


def warning_moment(cents_per_hour: int, max_cost: float, since: float) -> float:
    """When 80% of the cost cap are spent, in seconds on the clock of ``since``."""
    return moment_of_cost(cents_per_hour, max_cost, since, WARN_SHARE)
