"""What is known of flow runs and of slots: plain data, from which the rest is decided."""

from dataclasses import dataclass, field
from typing import Literal

Watched = Literal["alive", "dead", "unknown"]
Work = Literal["none", "living", "finished", "lost", "ended"]
Kind = Literal["crash", "cancel", "retry", "stop", "free"]


@dataclass(frozen=True)
class RunFacts:
    """A flow run as Prefect and this host know it.

    Attributes:
        id: of the flow run, and so of its jobs.
        name: of the flow run.
        flow: name of its flow.
        state: type of its state, such as ``RUNNING``.
        state_id: of that state, so that a later one is not overwritten.
        state_seconds: how long it has been in that state.
        silent_seconds: since its last sign of life: a heartbeat, or the beginning of its state.
        watched: whether its process lives; ``unknown`` on another host, or before its training.
        work: its newest job, here or mirrored from its host: living, as far as is known here,
            ``finished`` unwatched, ``lost`` (it vanished with its supervisor, as when a host goes
            down) or ``ended`` (it failed, was stopped, or its rented machine is given back).
        run_count: how often it has begun.
        deployed: whether a worker can take it up again.
    """

    id: str
    name: str
    flow: str
    state: str
    state_id: str
    state_seconds: float
    silent_seconds: float
    watched: Watched = "unknown"
    work: Work = "none"
    run_count: int = 1
    deployed: bool = True


@dataclass(frozen=True)
class SlotFacts:
    """A concurrency limit and who can rightly hold it.

    Attributes:
        name: of the limit.
        active: slots that are taken.
        holders: living runs that may have taken them.
        seconds: since a slot was taken or given back.
    """

    name: str
    active: int
    holders: int
    seconds: float


@dataclass(frozen=True)
class Action:
    """One thing to mend.

    Attributes:
        kind: what is done.
        subject: id of the flow run, or name of the limit.
        title: what a person calls it.
        reason: why it is done.
        state_id: the state that the decision was made on.
        number: slots that stay taken; or how often the run has begun.
    """

    kind: Kind
    subject: str
    title: str
    reason: str
    state_id: str = ""
    number: int = 0


@dataclass(frozen=True)
class Found:
    """All that was looked at."""

    runs: list[RunFacts] = field(default_factory=list)
    slots: list[SlotFacts] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What became of an action."""

    action: Action
    done: bool
    detail: str = ""
