"""From a wish to a machine that is ready, once for each job, however often it is asked for."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from cft.errors import CftError, one_line
from tasks.machine.provider.alarm import OnAlarm, log_alarm
from tasks.machine.provider.choose import budget_left
from tasks.machine.provider.clock import RentalClock
from tasks.machine.provider.ending import POLL_SECONDS, UNSEEN_SECONDS
from tasks.machine.provider.errors import (
    BadMachineError,
    NoMachineError,
    ProviderError,
    UnavailableError,
)
from tasks.machine.provider.launch import Launcher, Wish
from tasks.machine.provider.ledger import Entry, Held, Ledger
from tasks.machine.provider.protocol import ACTIVE, LOST, Instance, Provider
from tasks.machine.provider.release import release_held

logger = logging.getLogger("cft.machine")

# A machine that is taken over late in its boot, or after it, is looked at for so long all the same.
LEAST_BOOT_SECONDS = 180.0
DENIED_SECONDS = 30.0  # that the provider must deny a machine which it has shown before

Healthy = Callable[[Entry], bool]


def rent(
    provider: Provider,
    ledger: Ledger,
    wish: Wish,
    clock: RentalClock,
    healthy: Healthy,
    *,
    alarm: OnAlarm = log_alarm,
) -> Entry:
    """Get a machine that is ready: the job's own when it has one, else a new one.

    Args:
        provider: who is asked.
        ledger: where everything is written down before it is done.
        wish: what is wanted, and what it may cost.
        clock: by which all waiting is done.
        healthy: looks into an active machine: True when it does what is asked of it, False when
            it may yet. It is asked every few seconds, must be bounded itself, and raises
            :class:`~tasks.machine.provider.errors.BadMachineError` for a host that never will.
        alarm: told of a machine that cannot be released.

    Returns:
        The entry, "ready", with the machine's address. The caller releases it, and after an
        error what the job has open (:func:`~tasks.machine.provider.lease.leased` does both).

    Raises:
        BusyError: another process rents for the same job, or works on its machine.
        PriceError: the caps do not allow what would do.
        NoMachineError: none was to be had, or all that were had were bad. None is left.
        ReleaseError: a bad machine did not end in its time; no other is rented beside it.
        UnavailableError: the provider gave no reliable answer for long. What is open in the
            ledger is taken up again by the next call.
        ProviderError: the provider refuses.
        CftError: the ledger cannot be read.
    """
    alone = ledger.hold_job(wish.job) if wish.job else contextlib.nullcontext()
    with alone:
        return _Renting(provider, ledger, wish, clock, healthy, alarm).run()


@dataclass
class _Renting:
    provider: Provider
    ledger: Ledger
    wish: Wish
    clock: RentalClock
    healthy: Healthy
    alarm: OnAlarm
    bad: list[str] = field(default_factory=list)
    had: set[str] = field(default_factory=set)  # keys of the machines of this call

    def run(self) -> Entry:
        settings = self.wish.settings
        launcher = Launcher(
            provider=self.provider,
            owner=self.ledger.owner,
            wish=self.wish,
            clock=self.clock,
            until=self.clock.now() + settings.capacity_seconds,
            alarm=self.alarm,
        )
        while len(self.bad) <= settings.rerolls:
            entries = self.ledger.of_job(self.wish.job)
            mine = [one for one in entries if one.open] if self.wish.job else []
            for older in mine[:-1]:
                with self.ledger.hold(older.key) as held:
                    self._release(held, "a newer machine serves the job")
            with self.ledger.hold(mine[-1].key if mine else None) as held:
                if held.written and held.entry.state in ("releasing", "released"):
                    # Nothing is rented beside a machine that may still be paid for.
                    self._release(held, held.entry.note)
                    continue
                try:
                    if not held.written or held.entry.state == "intent":
                        others = [one for one in entries if one.key != held.key]
                        self._launch(launcher, held, others)
                    reason = self._until_ready(launcher, held)
                except (Exception, KeyboardInterrupt) as error:
                    # A job takes its machine up again; nobody could find that of a person.
                    if not self.wish.job and held.written:
                        self._release(held, one_line(error))
                    raise
                if reason is None:
                    return held.entry
                logger.warning("rent: %s: %s; it is given back", held.entry.instance_id, reason)
                self.bad.append(f"{held.entry.instance_id}: {reason}")
                self._release(held, reason)
        raise NoMachineError(
            f"rent: {len(self.bad)} machines in a row were bad ({'; '.join(self.bad)}); wish for "
            "another type or region, or raise rerolls"
        )

    def _launch(self, launcher: Launcher, held: Held, earlier: list[Entry]) -> None:
        # A person's machines are counted one call at a time, and a job's all together.
        counted = [one for one in earlier if self.wish.job or one.key in self.had]
        self.had.add(held.key)
        try:
            budget = budget_left(counted, self.wish.settings, self.clock.time())
            launcher.launch(held, budget)
        except UnavailableError:
            raise
        except CftError as error:
            # Refused, sold out or too dear: there is no machine, which the list must confirm.
            if held.written and held.entry.refused:
                with contextlib.suppress(CftError):
                    release_held(
                        self.provider,
                        held,
                        self.clock,
                        one_line(error),
                        alarm=lambda alarm: None,
                        give_up_after=UNSEEN_SECONDS + 60,
                    )
            raise

    def _release(self, held: Held, note: str) -> None:
        release_held(
            self.provider,
            held,
            self.clock,
            note,
            alarm=self.alarm,
            give_up_after=self.wish.settings.release_seconds,
        )

    def _until_ready(self, launcher: Launcher, held: Held) -> str | None:
        """Wait for the entry's machine; why it will not do, or None when it is ready."""
        entry, settings = held.entry, self.wish.settings
        since_launch = self.clock.time() - entry.born
        limit = self.clock.now() + max(settings.boot_seconds - since_launch, LEAST_BOOT_SECONDS)
        instance_id, waited_for = str(entry.instance_id), "an answer of the provider"
        seen, denied_since = entry.ip is not None, self.clock.now()
        while True:
            if self.clock.time() >= held.entry.ends:
                return "its time or its money is over"
            try:
                machine = self.provider.describe(instance_id)
            except UnavailableError:
                # A machine that works is not ended because its provider is out of reach.
                if entry.state == "ready" and self.clock.now() >= limit:
                    raise
            else:
                if machine is None:
                    # Right after the launch that may be a matter of time.
                    denied = self.clock.now() - denied_since
                    if denied >= (DENIED_SECONDS if seen else UNSEEN_SECONDS):
                        return "the provider does not know it any more"
                else:
                    seen, denied_since = True, self.clock.now()
                    if (reason := self._lost(held, machine)) is not None:
                        return reason
                    if machine.status == ACTIVE and machine.ip:
                        try:
                            if self._ready(launcher, held, machine):
                                return None
                        except BadMachineError as error:
                            return one_line(error)
                        waited_for = "its readiness"
                    else:
                        waited_for = "its address" if machine.status == ACTIVE else "its boot"
            if self.clock.now() >= limit:
                minutes = (self.clock.time() - entry.born) / 60
                return f"{minutes:.0f} minutes after its launch it still waits for {waited_for}"
            self.clock.sleep(POLL_SECONDS)

    def _lost(self, held: Held, machine: Instance) -> str | None:
        if machine.status in LOST:
            return f"it is {machine.status}"
        if machine.cents_per_hour > held.entry.cents_per_hour:
            # The dearer price counts from the beginning, as the bill will.
            held.change(cents_per_hour=machine.cents_per_hour)
        if machine.cents_per_hour > self.wish.settings.max_cents_per_hour:
            return f"it costs ${machine.cents_per_hour / 100:.2f}/h and was offered for less"
        return None

    def _ready(self, launcher: Launcher, held: Held, machine: Instance) -> bool:
        entry = held.entry
        if (entry.ip, entry.port) != (machine.ip, machine.port):
            entry = held.change(ip=machine.ip, port=machine.port)
        if entry.state == "ready":  # its job may be at work and look into it is not ours
            return True
        if not self.healthy(entry):
            return False
        try:
            launcher.end_twins(held, self.provider.instances())
        except ProviderError as error:
            logger.warning("rent: no look for a second machine (%s)", one_line(error))
        held.change(state="ready", ready_at=self.clock.time())
        return True
