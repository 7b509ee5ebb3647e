"""From a wish to a machine, whatever is answered to the launch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.machine.provider.errors import (
    ProviderError,
    UnavailableError,
)
from tasks.machine.provider.ledger import Entry
from tasks.machine.provider.rent import rent
from tests.lambda_account import A10, Fault, Seen
from tests.renting import Account, rented, running, wish, yes

LAUNCH = "POST /instance-operations/launch"
TERMINATE = "POST /instance-operations/terminate"
DESCRIBE = r"GET /instances/"
LIST = r"GET /instances$"
NO_ANSWER = ["429", "500", "timeout", "drop", "html", "garbage"]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    yield from running(tmp_path)


def test_a_machine_is_ready_when_it_is_active_has_an_address_and_does_its_work(
    account: Account,
) -> None:
    asked: list[tuple[str | None, int]] = []

    def healthy(entry: Entry) -> bool:
        asked.append((entry.ip, entry.port))
        return len(asked) == 3

    entry = rented(account, healthy)
    assert asked == [("127.0.0.1", 2222)] * 3
    assert (entry.state, entry.job, entry.cents_per_hour) == ("ready", "run-1", 75)
    (machine,) = account.cloud.living
    assert entry.instance_id == machine.id
    assert account.clock.now() >= account.cloud.boot
    assert account.ledger.read(entry.key) == entry
    (launch,) = account.cloud.launches()
    assert launch.body == {
        "region_name": "us-east-1",
        "instance_type_name": A10,
        "ssh_key_names": ["cft-tests"],
        "name": entry.identity.name,
        "tags": [{"key": k, "value": v} for k, v in entry.identity.tags.items()],
    }


def test_the_intent_is_on_the_disk_before_the_launch_is_sent(account: Account) -> None:
    found: list[dict[str, Any]] = []

    def look(seen: Seen) -> None:
        if seen.launch:
            key = {tag["key"]: tag["value"] for tag in seen.body["tags"]}["cft-key"]
            found.append(account.raw(key))

    account.cloud.hook = look
    entry = rented(account)
    (intent,) = found
    assert (intent["state"], intent["instance_id"]) == ("intent", None)
    assert intent["deadline"] == entry.deadline, "there is no state without a deadline"


# A launch without an answer.


@pytest.mark.parametrize("what", NO_ANSWER)
@pytest.mark.parametrize("lag", [0, 45])
def test_a_machine_whose_launch_was_not_answered_is_adopted(
    account: Account, what: str, lag: int
) -> None:
    account.cloud.lag = lag
    account.short_of_time(what)
    account.cloud.faults = [Fault(what, LAUNCH, after=True)]
    entry = rented(account)
    (machine,) = account.cloud.living
    assert (entry.state, entry.instance_id) == ("ready", machine.id)
    assert len(account.cloud.launches()) == 1


@pytest.mark.parametrize("what", NO_ANSWER)
def test_a_launch_is_repeated_only_after_complete_lists_have_shown_nothing_for_a_minute(
    account: Account, what: str
) -> None:
    account.short_of_time(what)
    # One of the lists that must show it fails, and counts for nothing.
    account.cloud.faults = [Fault(what, LAUNCH), Fault("500", LIST, skip=1, times=7)]
    entry = rented(account)
    (machine,) = account.cloud.living
    assert (entry.state, entry.instance_id) == ("ready", machine.id)
    first, second = account.cloud.launches()
    assert second.time - first.time >= 60
    between = [
        one
        for one in account.cloud.requests
        if one.path == "/instances" and first.time < one.time < second.time
    ]
    assert len(between) >= 7 + 2
    assert (
        first.body["name"].rsplit("-", 1)[1] == second.body["name"].rsplit("-", 1)[1] == entry.key
    )


def test_of_two_machines_of_one_launch_one_is_kept(account: Account) -> None:
    account.cloud.lag = 100
    account.cloud.faults = [Fault("500", LAUNCH, after=True)]
    entry = rented(account)
    assert len(account.cloud.launches()) == 2
    (kept,) = account.cloud.living
    assert entry.instance_id == kept.id
    assert entry.state == "ready"


def test_of_two_machines_that_are_found_one_is_adopted(account: Account) -> None:
    def twin(seen: Seen) -> None:
        if seen.launch:
            tags = {tag["key"]: tag["value"] for tag in seen.body["tags"]}
            account.cloud.add(seen.body["name"], tags)

    account.cloud.hook = twin
    account.cloud.faults = [Fault("500", LAUNCH, after=True)]
    entry = rented(account)
    (kept,) = account.cloud.living
    assert entry.instance_id == kept.id
    assert len(account.cloud.machines) == 2
    ends = [one.time for one in account.cloud.requests if str(one) == TERMINATE]
    assert ends[0] < account.cloud.boot, "it is not paid for until the other one is ready"


def test_launches_that_are_never_answered_are_not_repeated_for_ever(account: Account) -> None:
    account.cloud.faults = [Fault("drop", LAUNCH, times=99)]
    with pytest.raises(UnavailableError, match="3 launches were not answered"):
        rented(account)
    assert len(account.cloud.launches()) == 3
    account.cloud.faults = []
    before = len(account.cloud.requests)
    assert rented(account).state == "ready"
    kinds = [str(one) for one in account.cloud.requests[before:]]
    assert "GET /instances" in kinds[: kinds.index(LAUNCH)], "it looks before it launches again"


def test_after_a_lost_answer_nothing_is_launched_while_there_is_no_list(account: Account) -> None:
    account.cloud.faults = [Fault("500", LAUNCH, after=True), Fault("500", LIST, times=999)]
    with pytest.raises(UnavailableError, match="GET /instances"):
        rented(account)
    assert account.states == ["intent"]
    assert len(account.cloud.launches()) == 1
    account.cloud.faults = []
    entry = rented(account)
    assert len(account.cloud.launches()) == 1, "it was adopted by the next try"
    assert [one.id for one in account.cloud.living] == [entry.instance_id]


def test_an_answer_that_names_no_machine_counts_as_none(account: Account) -> None:
    answer = account.cloud.answer

    def garbled(seen: Seen, query: dict[str, list[str]]) -> tuple[int, Any]:
        status, content = answer(seen, query)
        return status, {"data": {"instance_ids": []}} if seen.launch else content

    account.cloud.answer = garbled  # type: ignore[method-assign]
    assert rented(account).state == "ready"
    assert len(account.cloud.launches()) == len(account.cloud.living) == 1


# Refusals.


def test_a_refused_launch_is_told_and_leaves_nothing_open(account: Account) -> None:
    with pytest.raises(ProviderError, match="ssh_key_names"):
        rent(
            account.provider,
            account.ledger,
            wish(ssh_key="nobody's"),
            account.clock,
            yes,
            alarm=account.alarms.append,
        )
    assert account.states == ["released"]
    assert len(account.cloud.launches()) == 1
    assert account.alarms == []


def test_a_wrong_key_is_told_at_once(account: Account) -> None:
    account.provider = account.client(key="wrong")
    with pytest.raises(ProviderError, match="set LAMBDA_API_KEY"):
        rented(account)
    assert account.entries == []
    assert len(account.cloud.requests) == 1
