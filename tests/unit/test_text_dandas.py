"""The normal form against its definition, rule by rule, on texts that are mostly signs."""

import re
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from cft.text import normalise

SIGNS = st.text(st.sampled_from("ab।॥|\n\t \u00a0\u2028\u0301é"), max_size=12)


def by_definition(text: str) -> str:
    """Every rule as its own pass over the whole text."""
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\|", "।", text)
    text = re.sub(r"।\s*।", "॥", text)
    return re.sub(r"\s+(?=[।॥])", "", text)


@settings(max_examples=500, deadline=None)
@given(SIGNS)
def test_it_follows_its_definition(text: str):
    assert normalise(text) == by_definition(text)


@settings(max_examples=500, deadline=None)
@given(SIGNS)
def test_it_is_a_fixed_point_wherever_signs_meet(text: str):
    assert normalise(normalise(text)) == normalise(text)


def test_a_danda_beside_a_pipe_is_a_double_danda():
    assert normalise("धर्मः |।") == normalise("धर्मः । |") == "धर्मः॥"
