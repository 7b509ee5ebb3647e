"""What a provider of rented machines can do, in five calls and plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

# Statuses with a meaning here. The set is open: any other is neither ready nor gone.
BOOTING = "booting"
ACTIVE = "active"
UNHEALTHY = "unhealthy"
TERMINATING = "terminating"
TERMINATED = "terminated"
PREEMPTED = "preempted"

# A machine in one of these will not become ready any more.
LOST = frozenset({UNHEALTHY, TERMINATING, TERMINATED, PREEMPTED})


@dataclass(frozen=True)
class Offer:
    """A type of machine at its price."""

    instance_type: str
    region: str | None  # None: sold out everywhere at the moment
    cents_per_hour: int  # of one whole machine, in US cents
    gpus: int = 0
    description: str = ""

    def __str__(self) -> str:
        place = f"in {self.region}" if self.region else "(sold out)"
        return f"{self.instance_type} {place} at ${self.cents_per_hour / 100:.2f}/h"


@dataclass(frozen=True)
class Instance:
    """A rented machine as the provider sees it. Login secrets of its listing are left out."""

    id: str
    status: str
    name: str = ""
    ip: str | None = None  # may come late in the boot
    port: int = 22
    region: str = ""
    instance_type: str = ""
    cents_per_hour: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """One machine to be launched."""

    name: str  # unique: a lost answer is found again by it
    instance_type: str
    region: str
    ssh_key: str  # name of a key that is registered with the provider
    tags: Mapping[str, str] = field(default_factory=dict)
    image_family: str | None = None  # None: the provider's newest
    # For cloud-init; it may hold a private host key.
    user_data: str | None = field(default=None, repr=False)


class Provider(Protocol):
    """A seller of machines.

    Every call raises :class:`~tasks.machine.provider.errors.UnavailableError` when no reliable
    answer came in its time, and :class:`~tasks.machine.provider.errors.ProviderError` for a
    refusal.
    """

    @property
    def console_url(self) -> str:
        """Where a person can end a machine by hand."""

    def offers(self) -> list[Offer]:
        """One offer for each type and region with capacity, and one for each sold-out type.

        It is advice: only a launch shows what there is.
        """

    def launch(self, order: Order) -> str:
        """Launch a machine, by one request that is never repeated in here.

        Returns:
            Its id.

        Raises:
            CapacityError: none of that type is left in that region.
        """

    def describe(self, instance_id: str) -> Instance | None:
        """The machine now; None when the provider says that there is none."""

    def terminate(self, instance_id: str) -> None:
        """Ask for its end, which may take minutes; no error when there is no such machine."""

    def instances(self) -> list[Instance]:
        """Every machine of the account, whoever it belongs to.

        The list is complete or there is an error: what is not in it is not there. It may lag
        behind a launch.
        """
