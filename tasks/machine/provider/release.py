"""Giving back the machine of one entry."""

import contextlib
import logging

from cft.errors import CftError, one_line
from tasks.machine.provider.alarm import OnAlarm, log_alarm
from tasks.machine.provider.clock import RentalClock
from tasks.machine.provider.ending import POLL_SECONDS, alarm_of, end_all, ending_of
from tasks.machine.provider.errors import BusyError, ReleaseError
from tasks.machine.provider.ledger import Entry, Held, Ledger
from tasks.machine.provider.protocol import Provider

logger = logging.getLogger("cft.machine")


def release_held(
    provider: Provider,
    held: Held,
    clock: RentalClock,
    note: str,
    *,
    alarm: OnAlarm = log_alarm,
    give_up_after: float | None = None,
) -> Entry:
    """:func:`release` for whoever has the entry under its lock already."""
    if held.entry.state == "released":
        return held.entry
    if held.entry.state != "releasing":
        try:
            held.change(state="releasing", note=note)
        except OSError as error:  # a full disk is no reason to go on paying
            logger.error("release: the ledger cannot be written (%s)", one_line(error))
    ending = ending_of(held.entry, held)
    end_all(provider, clock, [ending], alarm=alarm, give_up_after=give_up_after)
    if not ending.gone:
        raise ReleaseError(f"release: {alarm_of(provider, ending, give_up_after or 0.0)}")
    logger.info("release: %s is gone (%s)", held.entry.identity.name, note)
    return held.entry


def release(
    provider: Provider,
    ledger: Ledger,
    key: str,
    clock: RentalClock,
    note: str,
    *,
    alarm: OnAlarm = log_alarm,
    give_up_after: float | None = None,
) -> Entry:
    """Give back the machine of an entry. Doing so twice is as good as once.

    Args:
        provider: of the machine.
        ledger: with the entry.
        key: of the entry.
        clock: by which all waiting is done.
        note: why, for the ledger.
        alarm: called at once when something fails, and then in growing intervals.
        give_up_after: seconds; None: never, since what is not released is paid for.

    Returns:
        The entry, released.

    Raises:
        CftError: there is no such entry, or it cannot be read.
        BusyError: another process was at work on it all the time.
        ReleaseError: the machine was still there when the time was up. The entry says
            "releasing", and the next release or sweep goes on.
    """
    if ledger.read(key) is None:
        raise CftError(f"release: the ledger {ledger.folder} has no entry {key}; see the list")
    began = clock.now()
    with contextlib.ExitStack() as stack:
        held = _held_in_time(ledger, key, clock, stack, began, give_up_after)
        left = None if give_up_after is None else max(0.0, give_up_after - (clock.now() - began))
        return release_held(provider, held, clock, note, alarm=alarm, give_up_after=left)


def _held_in_time(
    ledger: Ledger,
    key: str,
    clock: RentalClock,
    stack: contextlib.ExitStack,
    began: float,
    give_up_after: float | None,
) -> Held:
    while True:
        try:
            return stack.enter_context(ledger.hold(key))
        except BusyError:
            if give_up_after is not None and clock.now() - began >= give_up_after:
                raise
        clock.sleep(POLL_SECONDS)
