"""Every machine of the account against the ledger: what nobody wants any more is ended.

It needs nothing of the processes that rented: after all of them were killed, one sweep leaves no
machine that is not wanted.
"""

import contextlib
import logging
from dataclasses import dataclass, field, replace

from cft.errors import CftError, one_line
from tasks.machine.provider.alarm import OnAlarm, log_alarm
from tasks.machine.provider.clock import RentalClock
from tasks.machine.provider.ending import Ending, end_all, ending_of
from tasks.machine.provider.errors import BusyError
from tasks.machine.provider.identity import Identity, identity_of
from tasks.machine.provider.judge import (
    LOCK_GRACE_SECONDS,
    Alive,
    Judgement,
    judge_entry,
    judge_machine,
)
from tasks.machine.provider.ledger import Entry, Held, Ledger
from tasks.machine.provider.protocol import Instance, Provider
from tasks.machine.provider.sweep_report import Row, SweepReport, row_of

logger = logging.getLogger("cft.machine")

SWEEP_SECONDS = 1200.0

Marked = tuple[Instance, Identity]


def unknown(job: str) -> bool | None:
    """Nothing is known of any job: its machine stays until its deadline."""
    return None


def sweep(
    provider: Provider,
    ledger: Ledger,
    clock: RentalClock,
    *,
    alive: Alive = unknown,
    dry_run: bool = True,
    alarm: OnAlarm = log_alarm,
    give_up_after: float = SWEEP_SECONDS,
) -> SweepReport:
    """Find what is to become of each machine, and see to it.

    Args:
        provider: whose machines are looked through.
        ledger: with our entries.
        clock: by which all waiting is done.
        alive: whether a job is; None when that is not known, and an error counts as that.
        dry_run: only tell.
        alarm: told of what cannot be ended.
        give_up_after: seconds for all the ends together.

    Returns:
        A row for each machine of the account and each open entry without one.

    Raises:
        UnavailableError: the machines cannot be listed as a whole; nothing was done.
        ProviderError: the provider refuses.
        CftError: the ledger's own mark cannot be read.
    """
    owner = ledger.owner
    # The list comes first: each machine in it has had its intent on the disk since before.
    machines = provider.instances()
    found = ledger.entries()
    work = _Sweep(provider, ledger, clock, _careful(alive), dry_run)
    keys: dict[str, list[Marked]] = {}
    for machine in machines:
        mark = identity_of(machine)
        if mark is None or mark.owner != owner:
            work.foreign(machine, mark)
        else:
            keys.setdefault(mark.key, []).append((machine, mark))
    for entry in found.readable:
        if entry.open and entry.owner == owner:
            keys.setdefault(entry.key, [])
    with contextlib.ExitStack() as stack:
        for key, marked in keys.items():
            try:
                work.consider(key, marked, stack)
            except (CftError, OSError) as error:  # one entry's trouble is not another's
                work.problems.append(f"{key}: {one_line(error)}")
        if work.endings:
            end_all(
                provider,
                clock,
                work.endings,
                seen=machines,
                alarm=alarm,
                give_up_after=give_up_after,
            )
    problems = (*found.unreadable.values(), *work.problems)
    return SweepReport(dry_run=dry_run, rows=work.finished(), problems=problems)


def _careful(alive: Alive) -> Alive:
    """The same question, and "not known" where asking fails: nothing is ended for that."""

    def asked(job: str) -> bool | None:
        try:
            return alive(job)
        except Exception as error:
            logger.warning("sweep: whether job %s lives is not known (%s)", job, one_line(error))
            return None

    return asked


@dataclass
class _Sweep:
    provider: Provider
    ledger: Ledger
    clock: RentalClock
    alive: Alive
    dry_run: bool
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    ended: dict[int, Ending] = field(default_factory=dict)  # by the place of their row

    def foreign(self, machine: Instance, mark: Identity | None) -> None:
        """Tell of a machine that is not ours."""
        whose = f"of the ledger {mark.owner}" if mark else "without a mark of ours"
        self._tell(machine, mark, None, Judgement("foreign", whose))

    def consider(self, key: str, marked: list[Marked], locks: contextlib.ExitStack) -> None:
        """Judge what is of one key and, unless it is a dry run, begin to see to it.

        The locks of what is ended go to ``locks``; all others are let go.
        """
        before = len(self.endings)
        with contextlib.ExitStack() as here:
            held, entry, damaged = None, None, False
            try:
                if self.dry_run:
                    if self.ledger.held(key):
                        raise BusyError(key)
                    entry = self.ledger.read(key)
                else:
                    held = here.enter_context(self.ledger.hold(key))
                    entry = held.entry if held.written else None
            except BusyError:
                return self._busy(key, marked)
            except CftError:
                damaged = True
                if not self.dry_run:
                    here.enter_context(self.ledger.hold_unread(key))
            self._judge(held, entry, damaged, marked)
            if len(self.endings) > before:
                locks.enter_context(here.pop_all())

    def finished(self) -> tuple[Row, ...]:
        """The rows, with what became of them."""
        rows = list(self.rows)
        for place, ending in self.ended.items():
            outcome = "gone" if ending.gone else "it is there" if ending.alive else "still there"
            rows[place] = replace(rows[place], outcome=outcome)
        return tuple(rows)

    def _judge(
        self, held: Held | None, entry: Entry | None, damaged: bool, marked: list[Marked]
    ) -> None:
        now = self.clock.time()
        known = entry.instance_id if entry is not None else None
        # Latest deadline first, so that no mark of a damaged entry ends the machine of another.
        marked = sorted(marked, key=lambda one: (one[0].id != known, -one[1].deadline, one[0].id))
        if entry is not None and known not in (None, *(one.id for one, _ in marked)):
            if not entry.open:
                known = None  # another one came up after it
            else:
                judged = judge_entry(entry, now)
                place = self._tell(None, entry.identity, entry, judged)
                if judged.verdict == "close":
                    self._end([place], replace(ending_of(entry, held), whole=False, asked=False))
                return self._twins(entry, marked, known)
        if not marked:
            if entry is not None and entry.open:
                judged = judge_entry(entry, now)
                place = self._tell(None, entry.identity, entry, judged)
                if judged.verdict == "close":
                    self._end([place], replace(ending_of(entry, held), asked=False))
            return
        machine, mark = marked[0]
        judged = judge_machine(machine, mark, entry, damaged, now, self.alive)
        places = [self._tell(machine, mark, entry, judged)]
        if judged.verdict == "end" or entry is None:
            places += [self._tell(*other, entry, judged) for other in marked[1:]]
        if judged.verdict == "end":
            self._note(held, judged.reason)
            ids = {one.id for one, _ in marked}
            if entry is not None:
                ending = ending_of(entry, held)
                ending.ids |= ids
            else:
                ending = Ending(mark.owner, mark.key, mark.born, machine.cents_per_hour, ids=ids)
            return self._end(places, ending)
        if judged.verdict == "adopt" and held is not None:
            held.change(state="launched", instance_id=machine.id, refused="")
        if entry is not None:
            self._twins(entry, marked[1:], machine.id)

    def _twins(self, entry: Entry, marked: list[Marked], own: str | None) -> None:
        """End machines of an entry that has another one."""
        for machine, mark in marked:
            judged = Judgement("end", f"a second machine of one launch, beside {own}")
            place = self._tell(machine, mark, entry, judged)
            cents = max(machine.cents_per_hour, entry.cents_per_hour)
            ending = Ending(
                entry.owner, entry.key, entry.born, cents, ids={machine.id}, whole=False
            )
            self._end([place], ending)

    def _busy(self, key: str, marked: list[Marked]) -> None:
        """Leave alone what somebody is at work on, unless it is long past its end."""
        now = self.clock.time()
        try:
            entry = self.ledger.read(key)
        except CftError:
            entry = None
        if not marked and entry is not None and entry.open:
            judged = Judgement("busy", "somebody is at work on it")
            self._tell(None, entry.identity, entry, judged)
        for machine, mark in marked:
            late = now - (entry.ends if entry is not None else mark.deadline)
            if late < LOCK_GRACE_SECONDS:
                judged = Judgement("busy", "somebody is at work on it")
                self._tell(machine, mark, entry, judged)
                continue
            # The ledger is left to whoever has the lock, who will find the machine gone.
            judged = Judgement("end", f"{late / 60:.0f} minutes past its end; its keeper hangs")
            place = self._tell(machine, mark, entry, judged)
            ending = Ending(
                mark.owner, key, mark.born, machine.cents_per_hour, ids={machine.id}, whole=False
            )
            self._end([place], ending)

    def _tell(
        self, machine: Instance | None, mark: Identity | None, entry: Entry | None, how: Judgement
    ) -> int:
        self.rows.append(row_of(machine, mark, entry, how, self.clock.time()))
        return len(self.rows) - 1

    def _note(self, held: Held | None, reason: str) -> None:
        """Write down that a release has begun; a full disk is no reason to go on paying."""
        if held is None or not held.written or held.entry.state == "releasing":
            return
        try:
            held.change(state="releasing", note=f"sweep: {reason}", ended_at=None)
        except OSError as error:
            self.problems.append(f"{held.key}: the ledger cannot be written ({one_line(error)})")

    def _end(self, places: list[int], ending: Ending) -> None:
        if not self.dry_run:
            self.endings.append(ending)
            self.ended |= dict.fromkeys(places, ending)
