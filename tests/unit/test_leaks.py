"""The leak guard finds every planted text and names where it stands."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.corpora.evalset import EvalPair, EvalSet, EvalSts, EvalTriplet
from cft.corpora.trika import load_trika
from cft.errors import CftError
from cft.text import text_ids, wording_ids
from cft.triplets.leaks import GuardedSet, Wordings, find_leaks, guarded_sets, require_no_leak

EVALSET = EvalSet(
    name="held-out",
    pairs=[EvalPair(sanskrit="प्रथमः", english="the first")],
    sts=[EvalSts(a="alike", b="similar", score=4)],
    triplets=[EvalTriplet(anchor="asked", positive="meant", negative="other", category="mono")],
)

GUARDED = [GuardedSet.of(EVALSET)]


def columns(**changes: list[str]) -> dict[str, np.ndarray]:
    clean = {"anchor": ["a", "b", "c"], "positive": ["d", "e", "f"], "negatives": ["g", "h", "i"]}
    return {f"stage1.{name}": wording_ids(texts) for name, texts in {**clean, **changes}.items()}


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


@pytest.mark.parametrize(
    "printed",
    [
        "चैतन्यमात्मा ॥ १ ॥",
        "॥चैतन्यमात्मा॥ 1.1||",
        "चैतन्यमात्मा // 12 //",
        "चैतन्यम\u200dात्मा ।",
        "चैतन्यमात्मा॥१",
    ],
)
def test_a_verse_is_found_in_another_print(printed: str):
    (guarded,) = guarded_sets(["trika"])
    (leak,) = find_leaks([guarded], columns(anchor=["a", printed, "b"]))
    assert leak.named == ["stage1.anchor row 1 is SS_1_1"]


def test_ids_of_a_store_become_those_of_wordings():
    texts = ["b ॥ 2 ॥", "a", "B", "A."]
    wordings = Wordings(texts, text_ids(texts))
    asked = text_ids(["A.", "b ॥ 2 ॥", "a", "B"]).reshape(2, 2)
    np.testing.assert_array_equal(
        wordings.of(asked), wording_ids(["a", "b", "a", "b"]).reshape(2, 2)
    )


def test_any_of_several_hard_negatives_counts():
    ids = wording_ids(["a", "b", "c", "d", "e", "alike"]).reshape(3, 2)
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
            require_no_leak(GUARDED, {"column": wording_ids(texts)})
    else:
        require_no_leak(GUARDED, {"column": wording_ids(texts)})


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
    pairs.write_text(
        json.dumps([{"text_a": "one", "text_b": "two", "label": 1, "source": "three"}])
    )
    EVALSET.save(tmp_path / "own.json")
    module = tmp_path / "trika_corpus.py"
    module.write_text(
        "def show():\n    print(VERSES)\n\nVERSES = {1: 'four'}\nPAIRS = [(1, 2, 0.5, 'free')]\n"
    )
    own = [str(tmp_path / "own.json")]
    first, second, third = guarded_sets([str(pairs), *own, str(module)])
    assert first.texts == [("[0].text_a", "one"), ("[0].text_b", "two"), ("[0].source", "three")]
    assert second.texts == list(EVALSET.labelled_texts())
    assert ("VERSES.1", "four") in third.texts
    assert first.digest != second.digest


def test_the_embedded_verses_are_guarded_on_both_sides():
    (guarded,) = guarded_sets(["trika"])
    texts = dict(guarded.texts)
    assert len(texts) == 2 * (77 + 53)
    planted = columns(positive=["d", texts["SS_1_1"], texts["SK_53_EN"].upper()])
    (leak,) = find_leaks([guarded], planted)
    assert leak.rows == 2
    assert leak.named == [
        "stage1.positive row 1 is SS_1_1",
        "stage1.positive row 2 is SK_53_EN",
    ]
    # The same set as it is evaluated holds no text that is not guarded.
    assert {text for _, text in load_trika().to_evalset().labelled_texts()} <= set(texts.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"absent\.json: no such evaluation set .*; name a JSON file or trika"),
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
