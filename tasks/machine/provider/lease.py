"""A machine for as long as a block runs: the first of the layers that give it back."""

import contextlib
from collections.abc import Iterator

from cft.errors import one_line
from tasks.machine.provider.alarm import OnAlarm, log_alarm
from tasks.machine.provider.clock import RentalClock
from tasks.machine.provider.errors import BusyError
from tasks.machine.provider.launch import Wish
from tasks.machine.provider.ledger import Entry, Ledger
from tasks.machine.provider.protocol import Provider
from tasks.machine.provider.release import release
from tasks.machine.provider.rent import Healthy, rent


@contextlib.contextmanager
def leased(
    provider: Provider,
    ledger: Ledger,
    wish: Wish,
    clock: RentalClock,
    healthy: Healthy,
    *,
    alarm: OnAlarm = log_alarm,
    give_up_after: float | None = None,
) -> Iterator[Entry]:
    """Rent a machine for a block, and release it however the block or the renting ends.

    What :func:`~tasks.machine.provider.rent.rent` and
    :func:`~tasks.machine.provider.release.release` raise goes through. Where another process
    rents for the job, its machine is left to it.
    """
    try:
        entry = rent(provider, ledger, wish, clock, healthy, alarm=alarm)
    except BusyError:
        raise
    except BaseException as error:
        if wish.job:
            release_job(
                provider,
                ledger,
                wish.job,
                clock,
                one_line(error),
                alarm=alarm,
                give_up_after=give_up_after,
            )
        raise
    note = "done"
    try:
        yield entry
    except BaseException as error:
        note = one_line(error)
        raise
    finally:
        release(provider, ledger, entry.key, clock, note, alarm=alarm, give_up_after=give_up_after)


def release_job(
    provider: Provider,
    ledger: Ledger,
    job: str,
    clock: RentalClock,
    note: str,
    *,
    alarm: OnAlarm = log_alarm,
    give_up_after: float | None = None,
) -> list[Entry]:
    """Release all that a job has open, for whoever knows the job and nothing else.

    Returns:
        The entries, released.

    Raises:
        BusyError: another process rents for it.
        ReleaseError: a machine is still there; those after it were not tried.
        CftError: the ledger cannot be read.
    """
    with ledger.hold_job(job):
        return [
            release(
                provider, ledger, one.key, clock, note, alarm=alarm, give_up_after=give_up_after
            )
            for one in ledger.of_job(job)
            if one.open
        ]
