"""A rented machine for a person: what would do, renting it, and giving back what one names."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from cft.errors import CftError
from cft.files import write_atomic, write_json
from cft.home import Home
from tasks.machine.hire import (
    SETTINGS,
    Hire,
    lease_folder,
    lease_settings,
    looks_healthy,
    rented_host,
    wish_for,
)
from tasks.machine.host import Host
from tasks.machine.provider.alarm import OnAlarm, log_alarm
from tasks.machine.provider.caps import cost_cents
from tasks.machine.provider.choose import budget_left, choices
from tasks.machine.provider.lambda_http import KEY_VARIABLE
from tasks.machine.provider.ledger import Entry, Ledger
from tasks.machine.provider.protocol import Offer
from tasks.machine.provider.release import release
from tasks.machine.provider.rent import rent
from tasks.machine.provider.settings import LambdaSettings
from tasks.machine.settings import MachineSettings
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.watcher import watcher_of

Say = Callable[[str], None]


def offers_for(hire: Hire, machine: MachineSettings) -> list[Offer]:
    """What would be rented now, in the order in which it would be tried.

    Empty when all that would do is sold out at the moment.

    Raises:
        CftError: a type is none of the provider's, or all that would do is over the caps.
    """
    rent_settings = machine.rent
    budget = budget_left([], rent_settings, hire.clock.time())
    return choices(hire.provider.offers(), rent_settings, budget)


def rent_for_person(
    hire: Hire,
    home: Home,
    machine: MachineSettings,
    say: Say,
    *,
    alarm: OnAlarm = log_alarm,
    gpu: bool = True,
) -> tuple[Entry, Host]:
    """Rent a machine that serves no job, and wait until it lets us in.

    However this ends before that (Ctrl-C as well), the machine is given back. After it nobody but
    its deadline ends it: a person does, or the sweep.

    Args:
        hire: who rents.
        home: the state folder.
        machine: settings.
        say: told what goes on.
        alarm: told of a machine that cannot be given back.
        gpu: whether a machine with a broken GPU is replaced.

    Raises:
        CftError: none could be rented.
        ReleaseError: a bad machine did not end in its time.
    """
    entry = rent(
        hire.provider,
        hire.ledger,
        wish_for(hire, home, machine, ""),
        hire.clock,
        looks_healthy(home, machine, say, gpu=gpu),
        alarm=alarm,
    )
    # Whoever looks at it or gives it back later knows no more than its key.
    write_json(lease_folder(home, entry.key) / SETTINGS, machine.model_dump(mode="json"))
    return entry, rented_host(home, machine, entry)


def cron_line(home: Home, machine: MachineSettings) -> str:
    """The line of a crontab that ends what is past its caps, where nothing else does."""
    words = [str(Path(sys.executable).with_name("cft")), "machines", "sweep", "--yes"]
    if machine.cloud.base_url != LambdaSettings().base_url:
        words += ["--base-url", machine.cloud.base_url]
    place = shlex.quote(str(home.path))
    return f"*/10 * * * * CFT_HOME={place} {KEY_VARIABLE}=... {shlex.join(words)}"


def as_own_machine(home: Home, machine: MachineSettings, entry: Entry, host: Host) -> Path:
    """Write the file with which a run trains on a rented machine as on a host of one's own.

    ``USER@ADDRESS`` would not do: the machine knows only our key, and its own is pinned here, since
    the next machine at this address has another one.

    Args:
        home: the state folder.
        machine: settings with which it was rented.
        entry: of the ledger.
        host: how it is reached.
    """
    keys = KnownHosts(host.known_hosts).keys(host.ssh.host, host.ssh.port)
    pin = {"host_key": keys[0].text} if keys else {}
    ssh = host.ssh.model_dump(mode="json", exclude_defaults=True) | pin
    rest = machine.model_dump(
        mode="json", include={"driver", "environment", "base", "python"}, exclude_defaults=True
    )
    path = lease_folder(home, entry.key) / "host.yaml"
    write_atomic(path, yaml.safe_dump({"kind": "ssh", "ssh": ssh} | rest))
    return path


@dataclass(frozen=True)
class Rental:
    """A machine of the ledger with what is needed to reach or to end it.

    Attributes:
        entry: of the ledger.
        machine: settings with which it was rented.
        serves: whether the process of its job lives.
    """

    entry: Entry
    machine: MachineSettings
    serves: bool

    def dollars(self, now: float) -> float:
        """What it has cost until now, or until its end; ``now`` in seconds since the epoch."""
        entry = self.entry
        return cost_cents(entry.cents_per_hour, entry.born, entry.ended_at or now) / 100


def find_rental(home: Home, ledger: Ledger, name: str) -> Rental:
    """A machine of this state folder's ledger, by its key or its instance's id.

    Raises:
        CftError: there is none, or its entry cannot be read.
    """
    found = ledger.entries()
    if name in found.unreadable:
        raise CftError(found.unreadable[name])
    entries = [one for one in found.readable if name and name in (one.key, one.instance_id)]
    if not entries:
        raise CftError(
            f"{name}: no machine of the ledger {ledger.folder}; `cft machines list` names ours, "
            "and what is not ours is ended where it was rented"
        )
    entry = entries[-1]
    machine = lease_settings(home, entry.job or entry.key) or MachineSettings(kind="lambda")
    serves = bool(entry.job) and watcher_of(lease_folder(home, entry.job)).state == "alive"
    return Rental(entry, machine, serves)


def release_rental(
    hire: Hire, rental: Rental, say: Say, *, force: bool = False, note: str = "cft machines down"
) -> Entry:
    """Give a machine back, and wait until the provider says that it is gone.

    Args:
        hire: who rented it.
        rental: which.
        say: told of what goes wrong meanwhile.
        force: although its job lives.
        note: why, for the ledger.

    Raises:
        CftError: its job lives, or another process is at work on it.
        ReleaseError: it is still there; the sweep goes on with that.
    """
    require_free(rental, force=force)
    return release(
        hire.provider,
        hire.ledger,
        rental.entry.key,
        hire.clock,
        note,
        alarm=lambda alarm: say(str(alarm)),
        give_up_after=rental.machine.rent.release_seconds,
    )


def require_free(rental: Rental, *, force: bool = False) -> None:
    """Refuse to take a machine from a job that lives.

    Raises:
        CftError: it does, and ``force`` is not set.
    """
    if rental.serves and rental.entry.open and not force:
        job = rental.entry.job
        raise CftError(
            f"{rental.entry.key}: serves the run {job}, which goes on; cancel that run, which "
            "gives the machine back, or take it away with --force"
        )
