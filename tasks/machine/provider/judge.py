"""What is to become of a machine or an entry: a pure function of what is known of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tasks.machine.provider.identity import Identity
from tasks.machine.provider.ledger import Entry
from tasks.machine.provider.protocol import TERMINATED, TERMINATING, Instance

# keep: it is in use. end: it is terminated. adopt: the ledger learns of it. close: the entry has
# no machine any more. wait: it is too early to tell. busy: somebody is at work on it right now.
# foreign: not ours, and never touched.
Verdict = Literal["keep", "end", "adopt", "close", "wait", "busy", "foreign"]

Alive = Callable[[str], bool | None]

GRACE_SECONDS = 900.0  # until an entry without a machine counts as one that has none
# Whoever has the lock either ends the machine or hangs. Past this the money decides.
LOCK_GRACE_SECONDS = 1800.0


@dataclass(frozen=True)
class Judgement:
    """What is to be done, and why."""

    verdict: Verdict
    reason: str


def judge_machine(
    machine: Instance,
    mark: Identity,
    entry: Entry | None,
    damaged: bool,
    now: float,
    alive: Alive,
) -> Judgement:
    """Judge the machine of an entry, or one that bears our mark and has no entry.

    Args:
        machine: as the provider lists it.
        mark: that it bears.
        entry: of its key.
        damaged: there is an entry, and it cannot be read.
        now: seconds since the epoch.
        alive: whether a job is; None when that is not known.
    """
    if machine.status == TERMINATED:
        return Judgement("wait", "it is terminated and still listed")
    if damaged:
        if now >= mark.deadline:
            return Judgement("end", "it is past its deadline, and its entry cannot be read")
        return Judgement("keep", "its entry cannot be read; it goes at its deadline")
    if entry is None:
        return Judgement("end", "the ledger has no entry of it")
    if entry.state == "released":
        return Judgement("end", "the ledger has it as released, and it is there")
    if entry.state == "releasing":
        return Judgement("end", f"its release was not finished ({entry.note})")
    if (over := _over(entry, machine, now)) is not None:
        return Judgement("end", over)
    if entry.job and alive(entry.job) is False:
        return Judgement("end", f"its job {entry.job} is over")
    if machine.status == TERMINATING:
        return Judgement("keep", "somebody is ending it")
    if entry.instance_id is None:
        return Judgement("adopt", "its launch was not answered")
    return Judgement("keep", f"until {_minutes(entry.ends - now)} from now")


def judge_entry(entry: Entry, now: float) -> Judgement:
    """Judge an open entry of which a complete list shows no machine."""
    age = now - entry.born
    if entry.state == "releasing":
        return Judgement("close", "it is gone, which was not written down")
    if age < GRACE_SECONDS:
        return Judgement("wait", f"its launch was {_minutes(age)} ago; a list may lag")
    if entry.instance_id is None:
        return Judgement("close", "its launch gave no machine")
    return Judgement("close", "it is gone without our doing")


def _over(entry: Entry, machine: Instance, now: float) -> str | None:
    if now >= entry.deadline:
        return f"it is {_minutes(now - entry.deadline)} past its deadline"
    dearer = entry.model_copy(
        update={"cents_per_hour": max(entry.cents_per_hour, machine.cents_per_hour)}
    )
    if now >= dearer.ends:
        return f"it has cost its ${entry.max_cost:.2f}"
    return None


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 3 * 3600 else f"{seconds / 3600:.1f} hours"
