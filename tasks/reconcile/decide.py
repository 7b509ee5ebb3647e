"""What to do about each fact: a pure function, so that every row of it can be read and tested.

====================  =======================================  ==============================
state                 what else is known                       what is done
====================  =======================================  ==============================
running, pending      its process lives, or it has beaten      nothing
running, pending      its process is gone, or it is silent     crash, then as crashed
cancelling            its process is gone, or it is silent     cancel, and stop its job
crashed               its job lives, has finished unwatched    retry, where a worker can take
                      or was lost with its host                it and not too often
cancelled             its job lives                            stop
failed, completed     its job lives and nobody watches it      stop
====================  =======================================  ==============================

A run whose process lives is left alone, whatever its state says: a retry beside it would be a
second watcher of the same job.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.reconcile.facts import Action, Found, Kind, RunFacts, SlotFacts

ACTIVE = ("PENDING", "RUNNING", "CANCELLING")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
WORTH_A_RETRY = {
    "living": "its job lives and nobody watches it",
    "finished": "its job has finished and nobody took the result",
    "lost": "its job was lost with its host; the newest checkpoint stays",
}


@dataclass(frozen=True)
class Limits:
    """When a run counts as dead and how often it is taken up again; all times in seconds."""

    stale: float = 600.0
    grace: float = 60.0
    max_retries: int = 3
    retry_within: float = 24 * 3600.0


def decide(found: Found, limits: Limits) -> list[Action]:
    """Every action, in the order in which they are to be done."""
    actions = [action for run in found.runs for action in decide_run(run, limits)]
    return actions + [action for slot in found.slots for action in decide_slot(slot, limits)]


def decide_run(run: RunFacts, limits: Limits) -> Sequence[Action]:
    """What to do about one flow run."""
    if run.state in ACTIVE:
        if (why := _gone(run, limits)) is None:
            return []
        if run.state == "CANCELLING":
            ended = replace(run, state="CANCELLED")
            return [_action("cancel", run, why), *_ended(ended)]
        crashed = replace(run, state="CRASHED")
        return [_action("crash", run, why), *_taken_up(crashed, limits)]
    if run.state_seconds <= limits.grace:  # its worker and its hooks may be at work on it
        return []
    if run.state == "CRASHED":
        if run.state_seconds > limits.retry_within:
            return []
        return _taken_up(run, limits)
    return _ended(run)


def _ended(run: RunFacts) -> Sequence[Action]:
    if run.work != "living":
        return []
    if run.state == "CANCELLED":
        return [_action("stop", run, "it was cancelled, but its job lives")]
    if run.state in ("FAILED", "COMPLETED") and run.watched != "alive":
        return [_action("stop", run, f"it has {run.state.lower()}, but its job lives")]
    return []


def decide_slot(slot: SlotFacts, limits: Limits) -> Sequence[Action]:
    """What to do about one concurrency limit.

    A lease ends within minutes when its holder dies, but a server forgets all leases when it is
    started again, and the slots then stay taken for ever.
    """
    if slot.active <= slot.holders or slot.seconds <= limits.stale:
        return []
    reason = f"{slot.active} slots are taken, but {slot.holders} runs can hold them"
    return [Action("free", slot.name, slot.name, reason, number=slot.holders)]


def _gone(run: RunFacts, limits: Limits) -> str | None:
    """Why the process of an active run counts as dead; None where it does not."""
    if run.watched == "dead" and run.state_seconds > limits.grace:
        return "its process on this host is gone"
    if run.watched == "unknown" and run.silent_seconds > limits.stale:
        return f"no sign of life for {run.silent_seconds / 60:.0f} minutes"
    return None


def _taken_up(run: RunFacts, limits: Limits) -> Sequence[Action]:
    worth = WORTH_A_RETRY.get(run.work)
    if (
        worth is None
        or run.watched == "alive"
        or not run.deployed
        or run.run_count > limits.max_retries
    ):
        return []
    return [_action("retry", run, worth)]


def _action(kind: Kind, run: RunFacts, reason: str) -> Action:
    title = f"{run.flow} {run.name}"
    return Action(kind, run.id, title, reason, run.state_id, run.run_count)
