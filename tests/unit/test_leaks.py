"""The leak guard finds every planted text and names where it stands."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.corpora.evalset import EvalPair, EvalSet, EvalSts, EvalTriplet
from cft.errors import CftError
from cft.text import text_ids
from cft.triplets.leaks import GuardedSet, find_leaks, guarded_sets, require_no_leak

EVALSET = EvalSet(
    name="held-out",
    pairs=[EvalPair(sanskrit="प्रथमः", english="the first")],
    sts=[EvalSts(a="alike", b="similar", score=4)],
    triplets=[EvalTriplet(anchor="asked", positive="meant", negative="other", category="mono")],
)

GUARDED = [GuardedSet.of(EVALSET)]


def columns(**changes: list[str]) -> dict[str, np.ndarray]:
    clean = {"anchor": ["a", "b", "c"], "positive": ["d", "e", "f"], "negatives": ["g", "h", "i"]}
    return {f"stage1.{name}": text_ids(texts) for name, texts in {**clean, **changes}.items()}


def test_clean_columns_pass():
    require_no_leak(GUARDED, columns())
    require_no_leak([GuardedSet.of(EvalSet(name="empty"))], columns())


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
    where = rf"stage1.{column} row 2 is {place}"
    message = rf"held-out: 1 training rows hold its texts \({where}\);.*--allow-leak"
    with pytest.raises(CftError, match=message):
        require_no_leak(GUARDED, columns(**{column: ["x", "y", planted]}))


def test_the_first_rows_are_named_and_all_are_counted():
    leaking = columns(anchor=["alike"] * 50, negatives=["x", "meant"])
    with pytest.raises(CftError, match=r"51 .*anchor row 0 .*row 1 .*row 2 is sts\[0\].a, ...\)"):
        require_no_leak(GUARDED, leaking)


def test_any_of_several_hard_negatives_counts():
    ids = text_ids(["a", "b", "c", "d", "e", "alike"]).reshape(3, 2)
    with pytest.raises(CftError, match=r"stage2.negatives row 2 is sts\[0\].a"):
        require_no_leak(GUARDED, {"stage2.negatives": ids})


@settings(deadline=None)
@given(st.lists(st.sampled_from(["alike", "similar", "x", "y", "z"]), max_size=12))
def test_it_agrees_with_comparing_the_texts(texts: list[str]):
    leaking = [text in ("alike", "similar") for text in texts]
    if any(leaking):
        with pytest.raises(
            CftError, match=rf"{sum(leaking)} training rows .*row {leaking.index(True)} "
        ):
            require_no_leak(GUARDED, {"column": text_ids(texts)})
    else:
        require_no_leak(GUARDED, {"column": text_ids(texts)})


def test_an_allowed_leak_is_counted_by_set_and_column():
    other = GuardedSet("other", [("[0].text_a", "b"), ("[1].text_b", "unseen")])
    leaking = columns(anchor=["alike", "b", "similar"])
    found = require_no_leak([*GUARDED, other, GuardedSet("clean", [])], leaking, allow_leak=True)
    assert [(one.evalset, one.rows) for one in found] == [("held-out", 2), ("other", 1)]
    assert found[1].named == ["stage1.anchor row 1 is [0].text_a"]
    assert found == find_leaks([*GUARDED, other], leaking)
    with pytest.raises(CftError, match=r"held-out: 2 .*; evaluation set other: 1 .*--allow-leak"):
        require_no_leak([*GUARDED, other], leaking)


def test_every_text_of_a_named_file_is_guarded_whatever_its_layout(tmp_path: Path):
    pairs = tmp_path / "pairs.json"
    pairs.write_text(json.dumps([{"text_a": "one", "text_b": "two", "label": 1}]))
    EVALSET.save(tmp_path / "own.json")
    module = tmp_path / "trika_corpus.py"
    module.write_text("VERSES = {1: 'three'}\nPAIRS = [(1, 2, 0.5, 'free')]\n")
    own = [str(tmp_path / "own.json")]
    first, second, third = guarded_sets([str(pairs), *own, str(module)])
    assert first.texts == [("[0].text_a", "one"), ("[0].text_b", "two")]
    assert second.texts == list(EVALSET.labelled_texts())
    assert ("VERSES.1", "three") in third.texts
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"absent\.json: no such evaluation set .*; name a JSON file or one of trika"),
        ("{", r"absent\.json: not valid JSON"),
        ('[{"label": 1}]', r"absent\.json: holds no text"),
    ],
)
def test_a_named_set_that_cannot_be_guarded_stops_the_run(tmp_path: Path, content, message):
    path = tmp_path / "absent.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CftError, match=message):
        guarded_sets([str(path)])
