"""The leak guard finds every planted text and names where it stands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.corpora.evalset import EvalPair, EvalSet, EvalSts, EvalTriplet
from cft.errors import CftError
from cft.text import text_ids
from cft.triplets.leaks import require_no_leak

EVALSET = EvalSet(
    name="held-out",
    pairs=[EvalPair(sanskrit="प्रथमः", english="the first")],
    sts=[EvalSts(a="alike", b="similar", score=4)],
    triplets=[EvalTriplet(anchor="asked", positive="meant", negative="other", category="mono")],
)


def columns(**changes: list[str]) -> dict[str, np.ndarray]:
    clean = {"anchor": ["a", "b", "c"], "positive": ["d", "e", "f"], "negatives": ["g", "h", "i"]}
    return {f"stage1.{name}": text_ids(texts) for name, texts in {**clean, **changes}.items()}


def test_clean_columns_pass():
    require_no_leak(EVALSET, columns())
    require_no_leak(EvalSet(name="empty"), columns())


@pytest.mark.parametrize(
    ("column", "planted", "place"),
    [
        ("anchor", "प्रथमः", r"pairs\[0\].sanskrit"),
        ("positive", " the  first ", r"pairs\[0\].english"),  # the id is that of the normal form
        ("negatives", "similar", r"sts\[0\].b"),
        ("anchor", "asked", r"triplets\[0\].anchor"),
        ("negatives", "other", r"triplets\[0\].negative"),
    ],
)
def test_a_planted_text_is_found_in_every_column(column: str, planted: str, place: str):
    message = rf"held-out: 1 training rows hold its texts \(stage1.{column} row 2 is {place}\);"
    with pytest.raises(CftError, match=message):
        require_no_leak(EVALSET, columns(**{column: ["x", "y", planted]}))


def test_the_first_rows_are_named_and_all_are_counted():
    leaking = columns(anchor=["alike"] * 50, negatives=["x", "meant"])
    with pytest.raises(CftError, match=r"51 .*anchor row 0 .*row 1 .*row 2 is sts\[0\].a, ...\)"):
        require_no_leak(EVALSET, leaking)


def test_any_of_several_hard_negatives_counts():
    ids = text_ids(["a", "b", "c", "d", "e", "alike"]).reshape(3, 2)
    with pytest.raises(CftError, match=r"stage2.negatives row 2 is sts\[0\].a"):
        require_no_leak(EVALSET, {"stage2.negatives": ids})


@settings(deadline=None)
@given(st.lists(st.sampled_from(["alike", "similar", "x", "y", "z"]), max_size=12))
def test_it_agrees_with_comparing_the_texts(texts: list[str]):
    leaking = [text in ("alike", "similar") for text in texts]
    if any(leaking):
        with pytest.raises(
            CftError, match=rf"{sum(leaking)} training rows .*row {leaking.index(True)} "
        ):
            require_no_leak(EVALSET, {"column": text_ids(texts)})
    else:
        require_no_leak(EVALSET, {"column": text_ids(texts)})
