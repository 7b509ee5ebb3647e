"""Two encoders on the same items: corrected p values, verdicts and what is not compared."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from cft.errors import CftError
from cft.evaluation.comparison import Compared, compare, compared, difference_table
from cft.evaluation.figures import PRIMARY
from cft.evaluation.significance import holm
from cft.evaluation.suites.held_out import evaluate
from tests.lexical import DICTIONARY, RECIPE, TrigramEncoder, evaluation_set


@pytest.fixture(scope="module")
def results():
    return {
        name: evaluate(TrigramEncoder(words=words), evaluation_set(), RECIPE, model=name)
        for name, words in (("lexical", {}), ("translating", DICTIONARY))
    }


@pytest.fixture(scope="module")
def differences(results):
    return compare(results["lexical"], results["translating"], RECIPE)


def test_primary_metrics_are_corrected_over_themselves(differences):
    tested = [name for name in PRIMARY if name in differences]
    assert len(tested) == 3
    expected = holm([differences[name].p for name in tested])
    assert [differences[name].p_adjusted for name in tested] == expected.tolist()
    assert differences["sa_en/mrr"].p_adjusted is None
    assert differences["sa_en/mrr"].p is not None
    assert differences["hubness/texts"].p is None


def test_verdicts_point_the_right_way_and_turn_over(results, differences):
    rows = compared(differences)
    assert rows["mean/mrr"].verdict == "better"
    assert rows["mean/mrr"].primary
    assert rows["alignment"].verdict == "changed"
    back = compared(compare(results["translating"], results["lexical"], RECIPE))
    assert back["mean/mrr"].verdict == "worse"
    assert back["mean/mrr"].difference == pytest.approx(-rows["mean/mrr"].difference)
    assert back["mean/mrr"].p == rows["mean/mrr"].p
    assert list(rows)[:4] == [
        f"sa_en/{one}" for one in ("mrr", *(f"recall_at_{k}" for k in (1, 3, 5)))
    ]
    for row in rows.values():
        assert Compared.model_validate_json(row.model_dump_json()) == row


def test_an_encoder_is_not_distinguishable_from_itself(results):
    same = compared(compare(results["lexical"], results["lexical"], RECIPE))
    assert {row.verdict for row in same.values()} == {"not distinguishable"}
    assert all(row.p in (None, 1.0) for row in same.values())


def test_the_drift_of_one_is_no_ground_for_comparison(results):
    tuned = evaluate(
        TrigramEncoder(words=DICTIONARY), evaluation_set(), RECIPE, model="tuned",
        base=results["lexical"],
    )  # fmt: skip
    assert "drift/cosine" in tuned.figures
    found = compare(results["lexical"], tuned, RECIPE)
    assert "mean/mrr" in found
    assert "drift/cosine" not in found


def test_other_suites_are_not_compared(results):
    one = results["lexical"]
    other = replace(one, evaluation=one.evaluation.model_copy(update={"suite": "trika"}))
    with pytest.raises(CftError, match=r"held-out on words against trika on words; evaluate both"):
        compare(one, other, RECIPE)


def test_the_table_says_value_interval_p_and_verdict(differences):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(difference_table(compared(differences), "a", "b", "words"))
    text = console.export_text()
    row = next(line for line in text.splitlines() if "Cross-lingual MRR *" in line)
    one = differences["mean/mrr"]
    assert f"{one.first:.3f}" in row
    assert f"+{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" in row
    assert f"{one.p_adjusted:.3f}" in row
    assert "better" in row
    assert "corrected by Holm's method" in text
