"""Whose a machine is: read from its name and its tags, and from nothing like them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.machine.provider.identity import (
    BORN_TAG,
    OWNER_TAG,
    Identity,
    belongs,
    identity_of,
)
from tasks.machine.provider.protocol import Instance

OWNERS = st.from_regex(r"[a-z0-9]{4,24}", fullmatch=True)
KEYS = st.from_regex(r"[a-f0-9]{12}", fullmatch=True)
MOMENTS = st.integers(0, 9_999_999_999)
MARKS = st.builds(Identity, OWNERS, KEYS, MOMENTS, MOMENTS)


@given(MARKS)
def test_a_mark_is_read_from_the_name_and_from_the_tags(mark: Identity) -> None:
    for machine in (
        Instance("i", "active", mark.name, tags=mark.tags),
        Instance("i", "active", mark.name),
        Instance("i", "active", "renamed", tags=mark.tags),
    ):
        assert identity_of(machine) == mark
        assert belongs(machine, mark.owner, mark.key)
        assert not belongs(machine, mark.owner + "x", mark.key)
    assert len(mark.name) <= 64


@given(MARKS, OWNERS)
def test_a_machine_with_two_owners_is_nobodys(mark: Identity, other: str) -> None:
    tags = {**mark.tags, OWNER_TAG: other}
    found = identity_of(Instance("i", "active", mark.name, tags=tags))
    assert (found is None) == (other != mark.owner)


@given(st.text(max_size=80), st.dictionaries(st.text(max_size=12), st.text(max_size=30)))
def test_nothing_else_is_taken_for_a_mark(name: str, tags: dict[str, str]) -> None:
    found = identity_of(Instance("i", "active", name, tags=tags))
    assert found is None or name == found.name


@pytest.mark.parametrize(
    "name",
    [
        "cft-owner1-1-2-0123456789abc",
        "cft-owner1-1-2-0123456789AB",
        "xcft-owner1-1-2-0123456789ab",
        "cft-owner1-1-2-0123456789ab\n",
        "cft-ow-1-2-0123456789ab",
        "cft-owner1--2-0123456789ab",
    ],
)
def test_a_name_that_is_nearly_a_mark_is_none(name: str) -> None:
    assert identity_of(Instance("i", "active", name)) is None


def test_half_a_mark_in_the_tags_is_none_even_beside_a_name() -> None:
    mark = Identity("owner1", "0123456789ab", 1, 2)
    tags = {**mark.tags, BORN_TAG: "yesterday"}
    assert identity_of(Instance("i", "active", mark.name, tags=tags)) is None
