"""What is done about each fact, row by row."""

from dataclasses import replace

import pytest

from tasks.reconcile.decide import Limits, decide, decide_run, decide_slot
from tasks.reconcile.facts import Found, RunFacts, SlotFacts

LIMITS = Limits(stale=600, grace=60, max_retries=3, retry_within=3600)
RUN = RunFacts(
    id="r",
    name="pilot",
    flow="two-stage",
    state="RUNNING",
    state_id="s",
    state_seconds=5000,
    silent_seconds=30,
)


def kinds(**facts) -> list[str]:
    return [action.kind for action in decide_run(replace(RUN, **facts), LIMITS)]


SILENT = {"silent_seconds": 601}
DEAD = {"watched": "dead"}


@pytest.mark.parametrize(
    ("facts", "done"),
    [
        # Active runs that live.
        ({}, []),
        ({"watched": "alive", **SILENT}, []),
        ({"watched": "alive", "state": "CANCELLING", **SILENT}, []),
        ({"state": "PENDING", "state_seconds": 300, "silent_seconds": 300}, []),
        ({**DEAD, "state_seconds": 50}, []),  # its worker may be about to say so
        # Active runs that are gone.
        (SILENT, ["crash"]),
        (DEAD, ["crash"]),
        ({"state": "PENDING", **SILENT}, ["crash"]),
        ({**DEAD, "work": "ended"}, ["crash"]),
        ({**DEAD, "work": "living"}, ["crash", "retry"]),
        ({**SILENT, "work": "living"}, ["crash", "retry"]),
        ({**DEAD, "work": "finished"}, ["crash", "retry"]),
        ({**DEAD, "work": "lost"}, ["crash", "retry"]),
        ({**DEAD, "work": "living", "deployed": False}, ["crash"]),
        ({**DEAD, "work": "living", "run_count": 4}, ["crash"]),
        # Cancelling, and nobody is left to do it.
        ({"state": "CANCELLING", **DEAD}, ["cancel"]),
        ({"state": "CANCELLING", **SILENT, "work": "living"}, ["cancel", "stop"]),
        # Crashed.
        ({"state": "CRASHED", "state_seconds": 61, "work": "living"}, ["retry"]),
        ({"state": "CRASHED", "state_seconds": 61, "work": "finished"}, ["retry"]),
        ({"state": "CRASHED", "state_seconds": 61, "work": "lost"}, ["retry"]),
        ({"state": "CRASHED", "state_seconds": 61, "work": "living", "run_count": 3}, ["retry"]),
        ({"state": "CRASHED", "state_seconds": 61, "work": "living", "run_count": 4}, []),
        ({"state": "CRASHED", "state_seconds": 3601, "work": "living"}, []),
        ({"state": "CRASHED", "state_seconds": 50, "work": "living"}, []),
        ({"state": "CRASHED", "state_seconds": 61, "work": "none"}, []),
        ({"state": "CRASHED", "state_seconds": 61, "work": "ended"}, []),
        ({"state": "CRASHED", "state_seconds": 61, "work": "living", "deployed": False}, []),
        ({"state": "CRASHED", "state_seconds": 61, "work": "living", "watched": "alive"}, []),
        # Ended otherwise.
        ({"state": "CANCELLED", "work": "living"}, ["stop"]),
        ({"state": "CANCELLED", "work": "living", "watched": "alive"}, ["stop"]),
        ({"state": "CANCELLED", "work": "living", "state_seconds": 30}, []),
        ({"state": "CANCELLED", "work": "finished"}, []),
        ({"state": "FAILED", "work": "living"}, ["stop"]),
        ({"state": "FAILED", "work": "living", "watched": "alive"}, []),
        ({"state": "FAILED", "work": "ended"}, []),
        ({"state": "COMPLETED", "work": "living"}, ["stop"]),
        ({"state": "COMPLETED", "work": "finished"}, []),
        # Waiting for its time or for a person.
        ({"state": "SCHEDULED", **SILENT}, []),
        ({"state": "PAUSED", **SILENT, "work": "finished"}, []),
    ],
)
def test_every_row(facts: dict, done: list[str]) -> None:
    assert kinds(**facts) == done


def test_an_action_says_what_why_and_on_which_state() -> None:
    crash, retry = decide_run(replace(RUN, watched="dead", work="living", run_count=2), LIMITS)
    assert (crash.subject, crash.title, crash.state_id) == ("r", "two-stage pilot", "s")
    assert crash.reason == "its process on this host is gone"
    assert retry.reason == "its job lives and nobody watches it"
    assert retry.number == 2
    (silent,) = decide_run(replace(RUN, silent_seconds=1800), LIMITS)
    assert silent.reason == "no sign of life for 30 minutes"


@pytest.mark.parametrize(
    ("active", "holders", "seconds", "freed"),
    [(1, 0, 601, True), (1, 0, 599, False), (1, 1, 9000, False), (2, 1, 9000, True)],
)
def test_slots(active: int, holders: int, seconds: float, freed: bool) -> None:
    actions = decide_slot(SlotFacts("cft-registry", active, holders, seconds), LIMITS)
    assert [(one.kind, one.subject, one.number) for one in actions] == (
        [("free", "cft-registry", holders)] if freed else []
    )


def test_all_together_in_order() -> None:
    found = Found(
        [
            replace(RUN, id="a", watched="dead", work="living"),
            RUN,
            replace(RUN, id="b", state="CANCELLED", work="living"),
        ],
        [SlotFacts("cft-registry", 1, 0, 700)],
    )
    actions = decide(found, LIMITS)
    assert [(one.kind, one.subject) for one in actions] == [
        ("crash", "a"),
        ("retry", "a"),
        ("stop", "b"),
        ("free", "cft-registry"),
    ]
