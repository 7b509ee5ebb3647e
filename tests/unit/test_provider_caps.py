"""What machines cost, what is left of the caps, and which offers they allow."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cft.errors import CftError
from tasks.machine.provider.caps import WARN_SHARE, cost_cents, moment_of_cost, warning_moment
from tasks.machine.provider.choose import Budget, budget_left, choices
from tasks.machine.provider.errors import PriceError
from tasks.machine.provider.protocol import Offer
from tasks.machine.provider.settings import RentSettings
from tests.renting import entry_of


@given(st.integers(0, 100_000), st.floats(0, 1e9), st.floats(0, 1e7))
def test_every_minute_that_has_begun_counts(cents: int, since: float, seconds: float) -> None:
    cost = cost_cents(cents, since, since + seconds)
    exact = cents * ((since + seconds) - since) / 3600
    assert exact - 1e-6 <= cost <= exact + cents / 60 + 1e-6


def test_costs_in_numbers() -> None:
    assert cost_cents(75, 0, 3600) == 75
    assert cost_cents(60, 0, 61) == 2
    assert cost_cents(60, 100, 0) == 0, "a clock that went back"
    assert moment_of_cost(75, 1.5, 100) == 100 + 7200
    assert moment_of_cost(0, 1.5, 100) == math.inf
    assert warning_moment(75, 1.5, 0) == pytest.approx(WARN_SHARE * 7200)


def test_dollars_become_cents_without_losing_one() -> None:
    for dollars, cents in ((0.29, 29), (1.1, 110), (4.35, 435), (0.755, 75)):
        assert RentSettings(max_price_per_hour=dollars).max_cents_per_hour == cents


@given(
    st.integers(1, 100_000),
    st.floats(0.01, 1000),
    st.floats(1, 1e6),
    st.integers(1_700_000_000, 2_000_000_000),
)
def test_no_deadline_is_past_a_cap(cents: int, dollars: float, seconds: float, born: int) -> None:
    deadline = Budget(dollars, seconds).deadline(cents, born)
    assert deadline <= born + seconds
    assert cents * (deadline - born) / 3600 <= dollars * 100 + cents / 3600 * 1e-3


@given(
    st.lists(
        st.builds(
            Offer,
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["r", "s", None]),
            st.integers(0, 1000),
        )
    ),
    st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["r", "s", "t"]), max_size=3),
    st.floats(0.01, 10),
)
def test_only_what_was_wished_for_and_may_be_paid_is_chosen(
    offers: list[Offer], types: list[str], regions: list[str], price: float
) -> None:
    settings = RentSettings(
        instance_types=tuple(types), regions=tuple(regions), max_price_per_hour=price
    )
    budget = Budget(25.0, 8 * 3600)
    try:
        found = choices(offers, settings, budget)
    except PriceError:
        wished = [one for one in offers if one.instance_type in types]
        assert any(one.cents_per_hour > settings.max_cents_per_hour for one in wished)
        return
    except CftError:
        assert not {one.instance_type for one in offers} & set(types)
        return
    for one in found:
        assert one.instance_type in types
        assert one.region is not None
        assert not regions or one.region in regions
        assert one.cents_per_hour <= price * 100 + 1e-6
    order = [types.index(one.instance_type) for one in found]
    assert order == sorted(order)
    assert len(found) == len(set(found))


def test_what_earlier_machines_cost_is_taken_from_the_caps() -> None:
    settings = RentSettings(max_cost=2.0, max_duration_hours=3.0)
    ended = entry_of(state="released", instance_id="i", born=0, ended_at=3600.0)
    running = entry_of(state="ready", instance_id="j", born=3600)
    nothing = entry_of(state="released", refused="capacity", born=0)
    left = budget_left([ended, nothing, running], settings, 3600 + 1800)
    assert left.dollars == pytest.approx(2.0 - 0.75 - 0.375)
    assert left.seconds == pytest.approx(1.5 * 3600)
    with pytest.raises(PriceError, match=r"max_cost: the run's 2 machines have cost \$2.25"):
        budget_left([ended, running], settings, 3600 * 3)
    with pytest.raises(PriceError, match=r"max_duration_hours: .* 3.0 of 3.0 hours"):
        budget_left([ended, running], settings.model_copy(update={"max_cost": 9.0}), 3600 * 3)
