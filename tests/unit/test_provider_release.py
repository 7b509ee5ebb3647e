"""Giving a machine back: however it is refused, it is not called released while it is there."""

import errno
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cft.errors import CftError
from tasks.machine.provider import ledger as ledger_module
from tasks.machine.provider.alarm import Alarm, log_alarm
from tasks.machine.provider.errors import BusyError, ReleaseError
from tasks.machine.provider.ledger import Entry
from tasks.machine.provider.release import release
from tasks.machine.provider.rent import rent
from tests.lambda_account import A10, Fault, Seen
from tests.renting import Account, Killed, KillingTransport, running, wish, yes

LAUNCH = "POST /instance-operations/launch"
TERMINATE = "POST /instance-operations/terminate"
DESCRIBE = r"GET /instances/"
LIST = r"GET /instances$"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    yield from running(tmp_path)


def ready(account: Account) -> Entry:
    """A machine that does its work; from now on the ledger is watched for lies."""
    entry = rent(account.provider, account.ledger, wish(), account.clock, yes)
    watch(account, entry.key)
    account.cloud.requests.clear()
    return entry


def watch(account: Account, key: str) -> None:
    """Look at each request whether the ledger calls a machine released that is there."""

    def look(seen: Seen) -> None:
        if account.cloud.living:
            assert account.raw(key)["state"] != "released"

    account.cloud.hook = look


def released(account: Account, entry: Entry, **arguments: Any) -> Entry:
    return release(
        account.provider,
        account.ledger,
        entry.key,
        account.clock,
        "done",
        alarm=account.alarms.append,
        **arguments,
    )


def test_a_machine_is_released_when_both_the_list_and_its_id_say_so(account: Account) -> None:
    entry = ready(account)
    before = account.clock.time()
    end = released(account, entry)
    assert (end.state, end.note) == ("released", "done")
    assert account.ledger.read(entry.key) == end
    assert account.cloud.living == []
    assert account.cloud.terminates() == [entry.instance_id]
    assert [str(one) for one in account.cloud.requests[-2:]] == [
        "GET /instances",
        f"GET /instances/{entry.instance_id}",
    ]
    assert end.ended_at is not None
    assert end.ended_at - before >= account.cloud.ending
    assert account.alarms == []


def test_releasing_twice_is_as_good_as_once(account: Account) -> None:
    entry = ready(account)
    first = released(account, entry)
    count = len(account.cloud.requests)
    assert released(account, entry) == first
    assert len(account.cloud.requests) == count


def test_a_machine_that_is_gone_already_is_released(account: Account) -> None:
    entry = ready(account)
    account.cloud.machines[str(entry.instance_id)].ended = -1000.0
    assert released(account, entry).state == "released"
    assert account.alarms == []


@pytest.mark.parametrize(
    "what", ["429", "500", "timeout", "drop", "html", "garbage", "terminate-404", "error"]
)
@pytest.mark.parametrize("after", [False, True])
def test_an_end_that_is_refused_or_not_answered_is_asked_for_again(
    account: Account, what: str, after: bool
) -> None:
    entry = ready(account)
    account.short_of_time(what)
    account.cloud.faults = [Fault(what, TERMINATE, times=3, after=after, status=403)]
    assert released(account, entry).state == "released"
    assert account.cloud.living == []
    assert len(account.cloud.terminates()) == (1 if after else 4)
    if what != "terminate-404":  # that one looks like success
        assert account.alarms, "it was told of at once"


@pytest.mark.parametrize("place", [DESCRIBE, LIST])
@pytest.mark.parametrize("what", ["500", "html", "garbage", "drop"])
def test_without_an_answer_a_machine_is_not_gone(account: Account, place: str, what: str) -> None:
    entry = ready(account)
    account.cloud.faults = [Fault(what, place, times=14, status=404)]
    assert released(account, entry).state == "released"
    assert account.cloud.living == []
    assert account.cloud.faults[0].times == 0
    assert account.alarms


def test_a_list_alone_is_not_enough(account: Account) -> None:
    entry = ready(account)
    account.cloud.unlisted = {str(entry.instance_id)}
    account.cloud.faults = [Fault("terminate-noop", TERMINATE, times=20)]
    with pytest.raises(ReleaseError):
        released(account, entry, give_up_after=60)
    assert account.raw(entry.key)["state"] == "releasing"
    account.cloud.machines[str(entry.instance_id)].noop = False
    account.cloud.faults = []
    assert released(account, entry).state == "released"


def test_the_word_of_its_id_alone_is_not_enough(account: Account) -> None:
    entry = ready(account)
    account.cloud.denied = {str(entry.instance_id)}
    account.cloud.faults = [Fault("terminate-noop", TERMINATE, times=20)]
    with pytest.raises(ReleaseError):
        released(account, entry, give_up_after=60)
    assert account.raw(entry.key)["state"] == "releasing"


def test_an_incomplete_list_is_not_enough(account: Account) -> None:
    entry = ready(account)
    account.cloud.ending = 1e6  # it terminates for ever
    for i in range(3):
        account.cloud.add(f"other-{i}")
    account.cloud.page_size = 1
    account.cloud.denied = {str(entry.instance_id)}
    account.cloud.faults = [Fault("repeat-token", LIST, times=999)]
    with pytest.raises(ReleaseError, match="in circles"):
        released(account, entry, give_up_after=60)


def test_a_machine_that_boots_is_ended_as_soon_as_that_is_allowed(account: Account) -> None:
    account.cloud.refuse_end = 500.0
    entry = begun(account)
    end = released(account, entry)
    assert end.state == "released"
    assert account.cloud.living == []
    assert account.clock.time() - entry.born >= 500 + account.cloud.ending
    assert "vm-has-not-launched" in account.alarms[0].problem
    assert account.alarms[0].seconds < 30


def begun(account: Account) -> Entry:
    """A machine whose process died in its boot."""

    dying = account.client(transport=KillingTransport(2, False))
    with pytest.raises(Killed):
        rent(dying, account.ledger, wish(), account.clock, yes)
    (entry,) = account.entries
    assert entry.state == "launched"
    watch(account, entry.key)
    return entry


def test_an_end_that_does_not_come_is_told_in_growing_intervals_and_then_raised(
    account: Account,
) -> None:
    entry = ready(account)
    account.cloud.faults = [Fault("terminate-noop", TERMINATE, times=9999)]
    with pytest.raises(ReleaseError) as caught:
        released(account, entry, give_up_after=2 * 3600)
    for part in (
        f"{entry.instance_id} at $0.75/h is not released after 120 minutes",
        "its end was asked for, and it is still there",
        "https://cloud.lambda.ai/instances",
    ):
        assert part in str(caught.value)
        assert part in str(account.alarms[-1]) or "120" in part
    moments = [alarm.seconds for alarm in account.alarms]
    assert 600 <= moments[0] < 620
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert pauses == sorted(pauses)
    assert 4 <= len(pauses) <= 8
    state = account.raw(entry.key)
    assert (state["state"], state["ended_at"]) == ("releasing", None)
    # Whoever goes on later ends it.
    account.cloud.machines[str(entry.instance_id)].noop = False
    account.cloud.faults = []
    assert released(account, entry).state == "released"


def test_without_a_bound_it_goes_on_for_ever(account: Account) -> None:
    entry = ready(account)
    account.cloud.faults = [Fault("terminate-noop", TERMINATE, times=9999)]

    def give_in(alarm: Alarm) -> None:
        account.alarms.append(alarm)
        if alarm.seconds > 3 * 3600:
            account.cloud.machines[str(entry.instance_id)].noop = False
            account.cloud.faults = []

    end = release(account.provider, account.ledger, entry.key, account.clock, "", alarm=give_in)
    assert end.state == "released"
    assert account.alarms[-1].seconds > 3 * 3600
    assert len(account.alarms) < 15


def test_an_alarm_that_fails_does_not_end_the_release(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    entry = ready(account)
    account.cloud.faults = [Fault("500", TERMINATE)]

    def broken(alarm: Alarm) -> None:
        raise ConnectionError("ntfy is down")

    end = release(account.provider, account.ledger, entry.key, account.clock, "", alarm=broken)
    assert end.state == "released"
    assert "the alarm could not be given (ntfy is down)" in caplog.text


def test_an_alarm_without_another_way_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        log_alarm(Alarm("abc", (), 75, "https://console", "no answer", 600.0))
    assert "a machine cft-...-abc, if there is one, at $0.75/h is not released" in caplog.text


def test_a_wrong_key_does_not_make_a_machine_gone(account: Account) -> None:
    entry = ready(account)
    right = account.provider
    account.provider = account.client(key="expired")
    with pytest.raises(ReleaseError, match="invalid-api-key"):
        released(account, entry, give_up_after=300)
    account.provider = right
    assert released(account, entry).state == "released"


def test_a_full_disk_does_not_keep_a_machine_running(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = ready(account)

    def full(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ledger_module, "write_atomic", full)
    with pytest.raises(ReleaseError, match=r"the ledger: .*No space left"):
        released(account, entry, give_up_after=300)
    assert account.cloud.living == []
    assert account.raw(entry.key)["state"] == "ready", "nothing was written"
    monkeypatch.undo()
    assert released(account, entry).state == "released"


# Launches without an answer.


@pytest.mark.parametrize(("launched", "lag"), [(False, 0), (True, 0), (True, 100)])
def test_an_intent_is_closed_only_when_no_machine_can_come_of_it_any_more(
    account: Account, launched: bool, lag: int
) -> None:
    account.cloud.lag = lag
    account.cloud.refuse_end = 0.0
    dying = account.client(transport=KillingTransport(0, launched, "/launch"))
    with pytest.raises(Killed):
        rent(dying, account.ledger, wish(), account.clock, yes)
    (entry,) = account.entries
    assert (entry.state, entry.instance_id) == ("intent", None)
    watch(account, entry.key)
    end = released(account, entry)
    assert end.state == "released"
    assert account.cloud.living == []
    assert len(account.cloud.machines) == launched
    assert end.ended_at is not None
    if not launched:
        assert end.ended_at - entry.born >= 180


def test_a_machine_that_has_not_shown_yet_is_not_gone(account: Account) -> None:
    account.cloud.lag = 150.0
    entry = begun(account)
    assert account.clock.time() - entry.born < 30
    assert released(account, entry).state == "released"
    assert account.cloud.living == []


def test_all_machines_of_an_entry_go(account: Account) -> None:
    entry = ready(account)
    twin = account.cloud.add(entry.identity.name, entry.identity.tags)
    other = account.cloud.add("somebody's")
    assert released(account, entry).state == "released"
    assert set(account.cloud.terminates()) == {entry.instance_id, twin.id}
    assert account.cloud.living == [other]


# Others.


def test_a_key_without_an_entry_is_an_error(account: Account) -> None:
    with pytest.raises(CftError, match="has no entry 0123456789ab"):
        release(account.provider, account.ledger, "0123456789ab", account.clock, "")
    assert account.cloud.requests == []


def test_while_another_is_at_work_on_it_release_waits(account: Account) -> None:
    entry = ready(account)
    slept: list[float] = []

    with account.ledger.hold(entry.key):
        with pytest.raises(BusyError):
            released(account, entry, give_up_after=30)
        assert account.cloud.requests == []
    held = account.ledger.hold(entry.key)
    held.__enter__()
    clock = account.clock

    class Clock:
        now, time = clock.now, clock.time

        def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 1:
                held.__exit__(None, None, None)
            clock.sleep(seconds)

    end = release(account.provider, account.ledger, entry.key, Clock(), "", give_up_after=600)
    assert end.state == "released"
    assert account.cloud.machines[str(entry.instance_id)].instance_type == A10
