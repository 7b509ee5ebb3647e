"""Normal form and ids of texts."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cft.text import normalise, text_id, text_ids


@pytest.mark.parametrize(
    ("given_text", "normal"),
    [
        ("धर्मः  चरति ।", "धर्मः चरति।"),
        ("धर्मः चरति ||", "धर्मः चरति॥"),
        ("धर्मः चरति । ।", "धर्मः चरति॥"),
        ("धर्मः | चरति\n॥", "धर्मः। चरति॥"),
        ("\u00a0Valmi\u0304ki ", "Valm\u012bki"),
    ],
)
def test_normal_form(given_text, normal):
    assert normalise(given_text) == normal


@given(st.text())
def test_normal_form_is_a_fixed_point(text):
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(st.text(), st.text())
def test_equal_ids_exactly_for_equal_normal_forms(a, b):
    assert (text_id(a) == text_id(b)) == (normalise(a) == normalise(b))


def test_ids_are_stable_across_machines():
    # A literal on purpose: stores, caches and registered lineage hold these numbers.
    assert text_id("dharma") == text_id(" dharma ") == -5883424257609189217
    assert text_ids(["dharma", "artha"]).dtype == np.int64
