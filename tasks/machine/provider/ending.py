"""Machines on their way out, until the provider itself says in two ways that they are gone."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from cft.errors import one_line
from tasks.machine.provider.alarm import Alarm, OnAlarm, log_alarm
from tasks.machine.provider.clock import RentalClock
from tasks.machine.provider.errors import ProviderError
from tasks.machine.provider.identity import belongs
from tasks.machine.provider.ledger import NOT_FOUND, Entry, Held
from tasks.machine.provider.protocol import TERMINATED, TERMINATING, Instance, Provider

logger = logging.getLogger("cft.machine")

POLL_SECONDS = 10.0
# What was launched may show in the list, and by its id, only after a while: a machine that nobody
# has seen yet is not gone before that.
UNSEEN_SECONDS = 180.0
STUCK_SECONDS = 600.0  # an end that takes longer is told of, and asked for less often
STUCK_POLL_SECONDS = 60.0
FIRST_ALARM_PAUSE = 60.0
LONGEST_ALARM_PAUSE = 3600.0


@dataclass
class Ending:
    """One entry's machines on their way out.

    Attributes:
        owner: of their mark.
        key: of their mark.
        born: when the launch was asked for, in seconds since the epoch.
        cents_per_hour: of one.
        ids: those that are known.
        whole: every machine with the mark goes, and not only the known ones.
        sure: the launch was refused, so that no machine is on its way.
        held: the entry that becomes "released" in the end, where there is one.
        asked: whether to terminate; without, it is only seen whether they are gone.
        problem: why the last step failed.
        seen: the provider has shown one of them, now or before.
        gone: the provider says so.
        alive: it was not asked to end, and is there.
    """

    owner: str
    key: str
    born: float
    cents_per_hour: int
    ids: set[str] = field(default_factory=set)
    whole: bool = True
    sure: bool = False
    held: Held | None = None
    asked: bool = True
    problem: str = ""
    seen: bool = False
    gone: bool = False
    alive: bool = False
    looks: int = 0  # complete lists in a row without any of its machines
    alarm_at: float = 0.0
    alarms: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to be done."""
        return self.gone or self.alive

    def claims(self, instance: Instance) -> bool:
        """Whether a machine is one of those that go."""
        if instance.id in self.ids:
            return True
        return self.whole and belongs(instance, self.owner, self.key)


def ending_of(entry: Entry, held: Held | None) -> Ending:
    """The end of all the machines of an entry."""
    return Ending(
        owner=entry.owner,
        key=entry.key,
        born=entry.born,
        cents_per_hour=entry.cents_per_hour,
        ids={entry.instance_id} if entry.instance_id else set(),
        sure=entry.refused not in ("", NOT_FOUND),
        seen=entry.ip is not None,
        held=held,
    )


def end_all(
    provider: Provider,
    clock: RentalClock,
    endings: Sequence[Ending],
    *,
    seen: Sequence[Instance] = (),
    alarm: OnAlarm = log_alarm,
    give_up_after: float | None = None,
) -> None:
    """Ask for the end of all that is known, and then wait until each is gone, or time is up.

    What became of each stands in it. No answer of the provider ends this early: a refusal may be
    one of a machine that boots, and after an error the machine may be there.

    Args:
        provider: of the machines.
        clock: by which all waiting is done.
        endings: what goes.
        seen: a list of the machines that was had a moment ago.
        alarm: called at once when something fails, and then in growing intervals.
        give_up_after: seconds; None: never.
    """
    began = clock.now()
    for one in endings:
        shown = {machine.id for machine in seen if one.claims(machine)}
        one.ids, one.seen = one.ids | shown, one.seen or bool(shown)
        leaving = {m.id for m in seen if m.status in (TERMINATING, TERMINATED)}
        _terminate(provider, one, one.ids - leaving)
        _raise_alarm(provider, clock, one, began, alarm)
    while True:
        _look(provider, clock, [one for one in endings if not one.done])
        waiting = [one for one in endings if not one.done]
        for one in waiting:
            if not one.problem and clock.now() - began >= STUCK_SECONDS and one.asked:
                one.problem = "its end was asked for, and it is still there"
            _raise_alarm(provider, clock, one, began, alarm)
        if not waiting:
            return
        if give_up_after is not None and clock.now() - began >= give_up_after:
            return
        clock.sleep(POLL_SECONDS if clock.now() - began < STUCK_SECONDS else STUCK_POLL_SECONDS)


def _terminate(provider: Provider, ending: Ending, ids: set[str]) -> None:
    if not ending.asked:
        return
    for instance_id in sorted(ids):
        try:
            provider.terminate(instance_id)
        except ProviderError as error:
            ending.problem = one_line(error)


def _look(provider: Provider, clock: RentalClock, endings: Sequence[Ending]) -> None:
    """See what is still there, ask for its end once more, and write down what is gone."""
    if not endings:
        return
    try:
        machines = [one for one in provider.instances() if one.status != TERMINATED]
    except ProviderError as error:
        for ending in endings:
            ending.looks, ending.problem = 0, one_line(error)
        return
    for ending in endings:
        ending.problem = ""
        there = [machine for machine in machines if ending.claims(machine)]
        ending.ids |= {machine.id for machine in there}
        if there:
            ending.looks, ending.seen, ending.alive = 0, True, not ending.asked
            _terminate(provider, ending, {m.id for m in there if m.status != TERMINATING})
            continue
        ending.looks += 1
        if ending.ids and not _unknown_to(provider, ending):
            continue
        old = clock.time() - ending.born >= UNSEEN_SECONDS and ending.looks >= 2
        ending.gone = ending.seen or ending.sure or old
        if ending.gone and ending.held is not None:
            try:
                _written_off(ending.held, clock)
            except OSError as error:
                ending.gone, ending.problem = False, f"the ledger: {one_line(error)}"


def _unknown_to(provider: Provider, ending: Ending) -> bool:
    """Whether the provider denies each machine by its id as well."""
    for instance_id in sorted(ending.ids):
        try:
            machine = provider.describe(instance_id)
        except ProviderError as error:
            ending.problem = one_line(error)
            return False
        if machine is not None and machine.status != TERMINATED:
            ending.seen, ending.alive = True, not ending.asked
            if machine.status != TERMINATING:
                _terminate(provider, ending, {instance_id})
            return False
    return True


def _written_off(held: Held, clock: RentalClock) -> None:
    if held.entry.state in ("launched", "ready"):
        held.change(state="releasing", note=held.entry.note or "the provider says it is gone")
    held.change(state="released", ended_at=clock.time())


def _raise_alarm(
    provider: Provider, clock: RentalClock, ending: Ending, began: float, alarm: OnAlarm
) -> None:
    now = clock.now()
    if not ending.problem or (ending.alarms and now < ending.alarm_at):
        return
    pause = min(LONGEST_ALARM_PAUSE, FIRST_ALARM_PAUSE * 2 ** min(ending.alarms, 30))
    ending.alarms, ending.alarm_at = ending.alarms + 1, now + pause
    try:
        alarm(alarm_of(provider, ending, now - began))
    except Exception as error:  # whatever a notification fails with, the release goes on
        logger.error("release: the alarm could not be given (%s)", one_line(error))


def alarm_of(provider: Provider, ending: Ending, seconds: float) -> Alarm:
    """What there is to tell of machines that are not gone after so many seconds."""
    return Alarm(
        key=ending.key,
        instance_ids=tuple(sorted(ending.ids)),
        cents_per_hour=ending.cents_per_hour,
        console_url=provider.console_url,
        problem=ending.problem or "it is still there",
        seconds=seconds,
    )
