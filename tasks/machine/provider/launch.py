"""From an intent to a machine that the ledger knows, whatever becomes of the answers."""

import logging
from dataclasses import dataclass, field

from cft.errors import one_line
from tasks.machine.provider.alarm import OnAlarm
from tasks.machine.provider.choose import Budget, choices
from tasks.machine.provider.clock import RentalClock
from tasks.machine.provider.ending import POLL_SECONDS, Ending, end_all
from tasks.machine.provider.errors import (
    CapacityError,
    NoMachineError,
    ProviderError,
    UnavailableError,
)
from tasks.machine.provider.identity import belongs
from tasks.machine.provider.ledger import NOT_FOUND, Entry, Held
from tasks.machine.provider.protocol import TERMINATED, Instance, Offer, Order, Provider
from tasks.machine.provider.settings import RentSettings

logger = logging.getLogger("cft.machine")

OFFER_PAUSE_SECONDS = 30.0  # until the offers are asked for again
PATIENCE_SECONDS = 900.0  # that the provider may be out of reach after a lost answer
# Each of them may show a machine later than anybody looks for it.
MOST_UNANSWERED = 3
SETTLE_SECONDS = 60.0  # that complete lists must show nothing before the next launch
TWIN_SECONDS = 900.0  # for the end of a machine too many; then it is the sweep's


@dataclass(frozen=True)
class Wish:
    """A machine that somebody wants.

    Attributes:
        ssh_key: name of the key that is registered with the provider.
        job: what it serves; a second wish for the same job gets the same machine. Empty: a
            person, who may have several.
        settings: caps and bounds.
        user_data: for cloud-init.
    """

    ssh_key: str
    job: str = ""
    settings: RentSettings = field(default_factory=RentSettings)
    user_data: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Launcher:
    """Launches for one wish.

    Attributes:
        provider: of the machine.
        owner: of the ledger.
        wish: what is wanted.
        clock: by which all waiting is done.
        until: when sold-out wishes are given up, on that clock.
        alarm: told of a machine too many that does not end.
    """

    provider: Provider
    owner: str
    wish: Wish
    clock: RentalClock
    until: float
    alarm: OnAlarm

    def launch(self, held: Held, budget: Budget) -> None:
        """See to it that the entry has a machine: it is "launched" when this returns.

        Raises:
            NoMachineError: all that would do was sold out until the end of the time.
            PriceError: all that would do costs too much.
            UnavailableError: it is not known whether there is a machine. The entry stays, and
                the next try or sweep finds out.
            ProviderError: the provider refuses.
        """
        if held.written and held.entry.refused in ("", NOT_FOUND) and self._adopted(held):
            return
        refused: dict[str, None] = {}
        unanswered = 0
        while True:
            for offer in choices(self.provider.offers(), self.wish.settings, budget):
                if self._asked(held, offer, budget):
                    return
                unanswered += held.entry.refused == NOT_FOUND
                if unanswered >= MOST_UNANSWERED:
                    raise UnavailableError(
                        f"launch: {unanswered} launches were not answered, and none of them has "
                        "shown a machine; look at the provider's console before the next try"
                    )
                refused[f"{offer.instance_type} in {offer.region}"] = None
                if self.clock.now() >= self.until:
                    break
            if self.clock.now() + OFFER_PAUSE_SECONDS > self.until:
                raise NoMachineError(
                    f"instance_types: {', '.join(self.wish.settings.instance_types)}: sold out "
                    f"for {self.wish.settings.capacity_seconds / 60:.0f} minutes"
                    + (f" (offered, but refused: {', '.join(refused)})" if refused else "")
                    + "; wish for more types or regions, or raise capacity_seconds"
                )
            self.clock.sleep(OFFER_PAUSE_SECONDS)

    def _asked(self, held: Held, offer: Offer, budget: Budget) -> bool:
        """Launch once, after the intent is on the disk; False when there surely is no machine."""
        self._write_intent(held, offer, budget)
        entry = held.entry
        order = Order(
            name=entry.identity.name,
            instance_type=offer.instance_type,
            region=str(offer.region),
            ssh_key=self.wish.ssh_key,
            tags=entry.identity.tags,
            image_family=self.wish.settings.image_family,
            user_data=self.wish.user_data,
        )
        logger.info("launch: %s as %s, until %d", offer, order.name, entry.deadline)
        try:
            instance_id = self.provider.launch(order)
        except UnavailableError as error:
            logger.warning("%s; looking whether there is a machine", one_line(error))
            return self._adopted(held)
        except CapacityError as error:
            held.change(refused=error.code or "capacity")
            logger.info("launch: %s is sold out after all", offer)
            return False
        except ProviderError as error:
            held.change(refused=error.code or "refused")
            raise
        held.change(state="launched", instance_id=instance_id)
        return True

    def _write_intent(self, held: Held, offer: Offer, budget: Budget) -> None:
        born = int(self.clock.time())
        what = {
            "instance_type": offer.instance_type,
            "region": str(offer.region),
            "cents_per_hour": offer.cents_per_hour,
            "born": born,
            # What is left of both caps, so that the machine's own mark says when it must go.
            "deadline": budget.deadline(offer.cents_per_hour, born),
            "max_cost": budget.dollars,
            "refused": "",
        }
        if held.written:
            held.change(**what)
        else:
            held.begin(
                Entry(key=held.key, owner=self.owner, state="intent", job=self.wish.job, **what)
            )

    def _adopted(self, held: Held) -> bool:
        """Whether there is a machine after a launch without an answer; then the entry has it."""
        key = held.entry.key
        found = look_for(self.provider, self.owner, key, self.clock, PATIENCE_SECONDS)
        if not found:
            held.change(refused=NOT_FOUND)
            return False
        first = min(found, key=lambda one: one.id)
        logger.warning("launch: adopted %s, whose launch was not answered", first.id)
        held.change(
            state="launched",
            instance_id=first.id,
            instance_type=first.instance_type or held.entry.instance_type,
            region=first.region or held.entry.region,
        )
        self.end_twins(held, found)
        return True

    def end_twins(self, held: Held, machines: list[Instance]) -> None:
        """End all machines of the entry but its own; one that does not end is the sweep's."""
        entry = held.entry
        twins = {
            one.id
            for one in machines
            if belongs(one, entry.owner, entry.key)
            and one.id != entry.instance_id
            and one.status != TERMINATED
        }
        if not twins:
            return
        logger.warning("launch: %s: a second machine of one launch is ended", ", ".join(twins))
        ending = Ending(
            entry.owner, entry.key, entry.born, entry.cents_per_hour, ids=twins, whole=False
        )
        end_all(self.provider, self.clock, [ending], alarm=self.alarm, give_up_after=TWIN_SECONDS)


def look_for(
    provider: Provider, owner: str, key: str, clock: RentalClock, patience: float
) -> list[Instance]:
    """The machines of an entry, after a launch whose answer is not known.

    Args:
        provider: of the machines.
        owner: of their mark.
        key: of their mark.
        clock: by which all waiting is done.
        patience: seconds that the provider may be out of reach.

    Returns:
        Those that the list shows; empty when complete lists have shown none for a minute.

    Raises:
        UnavailableError: there was no list in that time.
    """
    began, first = clock.now(), None
    while True:
        try:
            machines = provider.instances()
        except UnavailableError:
            if clock.now() - began >= patience:
                raise
        else:
            found = [one for one in machines if belongs(one, owner, key)]
            if found := [one for one in found if one.status != TERMINATED]:
                return found
            first = clock.now() if first is None else first
            if clock.now() - first >= SETTLE_SECONDS:
                return []
        clock.sleep(POLL_SECONDS)
