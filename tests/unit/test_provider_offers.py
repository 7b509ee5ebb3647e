"""Which machines are asked for: by wish, by what there is, and by what may be spent."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cft.errors import CftError
from tasks.machine.provider.errors import (
    NoMachineError,
    PriceError,
)
from tasks.machine.provider.release import release
from tests.lambda_account import A10, GH200, H100, NO_CAPACITY, Fault, Seen
from tests.renting import Account, rented, running

LAUNCH = "POST /instance-operations/launch"
TERMINATE = "POST /instance-operations/terminate"
DESCRIBE = r"GET /instances/"
LIST = r"GET /instances$"
NO_ANSWER = ["429", "500", "timeout", "drop", "html", "garbage"]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    yield from running(tmp_path)


def wished_places(account: Account) -> list[tuple[str, str]]:
    found = [one.body for one in account.cloud.launches()]
    return [(one["instance_type_name"], one["region_name"]) for one in found]


def test_offers_are_tried_in_the_order_of_the_wish(account: Account) -> None:
    account.cloud.capacity[H100] = ["us-west-3", "us-east-1"]
    account.cloud.faults = [Fault("capacity", LAUNCH, times=3)]
    rented(account, instance_types=(H100, GH200, A10), regions=("us-east-1", "us-west-3"))
    # What is listed and refused is tried again, from the preferred one on.
    assert wished_places(account) == [
        (H100, "us-east-1"),
        (H100, "us-west-3"),
        (A10, "us-east-1"),
        (H100, "us-east-1"),
    ]
    assert account.states == ["ready"], "one entry for all that were refused"


def test_a_region_that_nobody_wished_for_is_not_taken(account: Account) -> None:
    with pytest.raises(NoMachineError, match="sold out for 2 minutes; wish for more"):
        rented(account, regions=("eu-north-1",), capacity_seconds=120)
    assert account.cloud.launches() == []
    assert account.entries == []
    assert 60 <= account.clock.now() <= 130


def test_what_is_sold_out_is_waited_for(account: Account) -> None:
    def restock(seen: Seen) -> None:
        if account.clock.now() > 600:
            account.cloud.capacity[GH200] = ["us-east-3"]

    account.cloud.hook = restock
    assert rented(account, instance_types=(GH200,)).region == "us-east-3"
    asked = [one.time for one in account.cloud.requests if one.path == "/instance-types"]
    assert all(after - before >= 10 for before, after in itertools.pairwise(asked))


def test_what_is_listed_and_refused_until_the_end_leaves_nothing_open(account: Account) -> None:
    account.cloud.faults = [Fault("capacity", LAUNCH, times=999)]
    with pytest.raises(NoMachineError, match=r"refused: gpu_1x_a10 in us-east-1, gpu_1x_a10 in us"):
        rented(account, capacity_seconds=300)
    assert account.states == ["released"]
    assert account.entries[0].refused == NO_CAPACITY
    assert account.alarms == []


@pytest.mark.parametrize(
    ("wished", "says"),
    [
        ({"max_price_per_hour": 0.74}, r"max_price_per_hour: gpu_1x_a10 at \$0.75/h is over"),
        ({"max_cost": 0.24}, "after 19 minutes, and it may take 20 to boot"),
        ({"max_duration_hours": 0.3}, "after 18 minutes"),
        ({"instance_types": (A10, H100), "max_price_per_hour": 0.5}, r"over \$0.50; raise it; max"),
    ],
)
def test_nothing_is_launched_that_the_caps_forbid(
    account: Account, wished: dict[str, Any], says: str
) -> None:
    with pytest.raises(PriceError, match=says):
        rented(account, **wished)
    assert account.cloud.launches() == []
    assert account.entries == []


def test_the_dear_one_of_a_wish_is_passed_over(account: Account) -> None:
    assert rented(account, instance_types=(H100, A10), max_price_per_hour=0.75).instance_type == A10


def test_a_type_that_there_is_not_is_named(account: Account) -> None:
    with pytest.raises(CftError, match=r"instance_types: the provider has no gpu_9x; it has gpu_1"):
        rented(account, instance_types=("gpu_9x",))
    # As long as another one of the wish is known, it is no mistake.
    assert rented(account, instance_types=("gpu_9x", A10)).instance_type == A10


@pytest.mark.parametrize(
    ("wished", "seconds"),
    [
        ({"max_cost": 3.0}, 4 * 3600),  # $3 of $0.75 an hour
        ({"max_duration_hours": 2.0}, 2 * 3600),
        ({}, 8 * 3600),  # by default
    ],
)
def test_the_machine_itself_says_when_it_must_go(
    account: Account, wished: dict[str, Any], seconds: int
) -> None:
    entry = rented(account, **wished)
    assert entry.deadline - entry.born == seconds
    assert entry.ends == entry.deadline
    (machine,) = account.cloud.living
    assert f"-{entry.born}-{entry.deadline}-" in machine.name
    assert {"key": "cft-deadline", "value": str(entry.deadline)} in machine.tags


def test_a_machine_that_is_dearer_than_its_offer_shortens_its_time_or_is_given_back(
    account: Account,
) -> None:
    account.cloud.billed[A10] = 150
    entry = rented(account, max_cost=3.0)
    assert entry.cents_per_hour == 150
    assert entry.ends == entry.born + 2 * 3600
    release(account.provider, account.ledger, entry.key, account.clock, "")
    with pytest.raises(NoMachineError, match=r"it costs \$1.50/h and was offered for less"):
        rented(account, max_price_per_hour=1.0, job="run-2", rerolls=0)
    assert account.cloud.living == []


def test_all_machines_of_a_run_share_its_caps(account: Account) -> None:
    account.cloud.fates = ["stuck"]
    entry = rented(account, max_cost=1.0, max_duration_hours=1.0)
    bad = account.entries[0]
    assert bad.key != entry.key
    assert bad.ended_at is not None
    used = bad.ended_at - bad.born
    assert used > 1200
    assert abs(entry.deadline - entry.born - (3600 - used)) <= 1
    assert entry.max_cost == pytest.approx(1.0 - 0.75 * used / 3600, abs=0.02)
    account.clock.sleep(1200)
    release(account.provider, account.ledger, entry.key, account.clock, "")
    account.clock.sleep(24 * 3600)  # time without a machine costs nothing
    with pytest.raises(PriceError, match="max_cost, max_duration_hours: what is left"):
        rented(account, max_cost=1.0, max_duration_hours=1.0)
    assert rented(account, job="run-2", max_cost=1.0, max_duration_hours=1.0).state == "ready"


def test_a_run_that_has_spent_its_caps_gets_no_machine(account: Account) -> None:
    for cap in ({"max_cost": 0.5}, {"max_duration_hours": 0.6}):
        entry = rented(account, job=f"run-{cap}", **cap)
        account.clock.sleep(3600)
        release(account.provider, account.ledger, entry.key, account.clock, "")
        with pytest.raises(PriceError, match=f"{next(iter(cap))}: the run's 1 machines have"):
            rented(account, job=f"run-{cap}", **cap)
