"""Which offers are asked for, in which order, and how long what is left of the caps lasts."""

from collections.abc import Sequence
from dataclasses import dataclass

from cft.errors import CftError
from tasks.machine.provider.caps import cost_cents, moment_of_cost
from tasks.machine.provider.errors import PriceError
from tasks.machine.provider.ledger import Entry
from tasks.machine.provider.protocol import Offer
from tasks.machine.provider.settings import RentSettings


@dataclass(frozen=True)
class Budget:
    """What a run may still spend."""

    dollars: float
    seconds: float

    def deadline(self, cents_per_hour: int, born: int) -> int:
        """When a machine that is launched now must be released, in seconds since the epoch."""
        return int(
            min(born + self.seconds, moment_of_cost(cents_per_hour, self.dollars, float(born)))
        )


def budget_left(earlier: Sequence[Entry], settings: RentSettings, now: float) -> Budget:
    """What the machines that a run has had leave of its caps.

    Args:
        earlier: entries of the run.
        settings: the caps.
        now: seconds since the epoch.

    Raises:
        PriceError: nothing is left.
    """
    had = [one for one in earlier if one.instance_id is not None]
    spent = sum(cost_cents(one.cents_per_hour, one.born, one.ended_at or now) for one in had) / 100
    used = sum(max(0.0, (one.ended_at or now) - one.born) for one in had)
    left = Budget(settings.max_cost - spent, settings.max_duration_hours * 3600 - used)
    if left.dollars <= 0:
        raise PriceError(
            f"max_cost: the run's {len(had)} machines have cost ${spent:.2f} of "
            f"${settings.max_cost:.2f}; raise it to rent another"
        )
    if left.seconds <= 0:
        raise PriceError(
            f"max_duration_hours: the run's {len(had)} machines have run {used / 3600:.1f} of "
            f"{settings.max_duration_hours:.1f} hours; raise it to rent another"
        )
    return left


def choices(offers: Sequence[Offer], settings: RentSettings, budget: Budget) -> list[Offer]:
    """The offers to be tried, in order: by wished type, then by wished region.

    Empty when all that may be had is sold out at the moment.

    Raises:
        CftError: a wished type is none of the provider's.
        PriceError: whatever would do costs too much.
    """
    names = tuple(dict.fromkeys(settings.instance_types))
    wished = [[one for one in offers if one.instance_type == name] for name in names]
    if not any(wished):
        known = sorted({one.instance_type for one in offers})
        raise CftError(
            f"instance_types: the provider has no {', '.join(names)}; it has "
            + (", ".join(known) or "none at all")
        )
    dear = {
        one: reason for of in wished for one in of if (reason := _too_dear(one, settings, budget))
    }
    if len(dear) == len({one for of in wished for one in of}):
        raise PriceError("; ".join(dict.fromkeys(dear.values())))
    found = []
    for of in wished:
        may = [one for one in of if one not in dear and one.region is not None]
        for region in settings.regions or tuple(str(one.region) for one in may):
            found += [one for one in may if one.region == region]
    return list(dict.fromkeys(found))


def _too_dear(offer: Offer, settings: RentSettings, budget: Budget) -> str:
    """Why an offer may not be taken; empty when it may."""
    what = f"{offer.instance_type} at ${offer.cents_per_hour / 100:.2f}/h"
    if offer.cents_per_hour > settings.max_cents_per_hour:
        return f"max_price_per_hour: {what} is over ${settings.max_price_per_hour:.2f}; raise it"
    lasts = budget.deadline(offer.cents_per_hour, 0) if offer.cents_per_hour else budget.seconds
    if lasts <= settings.boot_seconds:
        return (
            f"max_cost, max_duration_hours: what is left of them ends {what} after "
            f"{lasts / 60:.0f} minutes, and it may take {settings.boot_seconds / 60:.0f} to boot; "
            "raise them"
        )
    return ""
