"""Results of a suite: compared pair by pair, saved whole, read without trust."""

from pathlib import Path

import numpy as np
import pytest

from cft.errors import CftError
from cft.evaluation.comparison import compare
from cft.evaluation.figures import Evaluation, Figure
from cft.evaluation.result import NEGATIVES, cross_lingual_similarities, load_result
from cft.evaluation.suites.held_out import evaluate
from tests.lexical import DICTIONARY, RECIPE, TrigramEncoder, evaluation_set


@pytest.fixture(scope="module")
def lexical():
    return evaluate(TrigramEncoder(), evaluation_set(), RECIPE, model="lexical")


@pytest.fixture(scope="module")
def translating():
    encoder = TrigramEncoder(words=DICTIONARY)
    return evaluate(encoder, evaluation_set(), RECIPE, model="translating")


def test_comparison_is_paired_and_points_the_right_way(lexical, translating):
    differences = compare(lexical, translating, RECIPE)
    assert set(differences) == set(lexical.figures) & set(translating.figures)
    assert len(differences) > 30
    mrr = differences["mean/mrr"]
    assert mrr.verdict("higher") == "better"
    assert mrr.second == 1.0
    assert mrr.first == lexical.evaluation.figures["mean/mrr"].value
    assert differences["alignment"].verdict("lower") == "better"
    assert compare(lexical, lexical, RECIPE)["sts/pearson"].value == 0


def test_evaluations_of_other_items_are_not_compared(lexical):
    fewer = evaluate(
        TrigramEncoder(),
        evaluation_set(pairs=evaluation_set().pairs[::-1]),
        RECIPE,
        model="other",
    )
    with pytest.raises(CftError, match=r"lexical and other: pairs/sanskrit_id differs"):
        compare(lexical, fewer, RECIPE)
    without = evaluate(TrigramEncoder(), evaluation_set(sts=[]), RECIPE, model="other")
    with pytest.raises(CftError, match=r"different sections"):
        compare(lexical, without, RECIPE)


def test_a_result_survives_saving(lexical, translating, tmp_path: Path):
    folder = lexical.save(tmp_path / "results" / "base")
    again = load_result(folder)
    assert again.evaluation == lexical.evaluation
    assert set(again.items) == set(lexical.items)
    for name, array in lexical.items.items():
        np.testing.assert_array_equal(again.items[name], array)
    np.testing.assert_array_equal(again.similarities.matrix, lexical.similarities.matrix)
    assert compare(again, lexical, RECIPE)["mean/mrr"].value == 0
    assert lexical.save(folder) == folder
    with pytest.raises(CftError, match=r"holds another evaluation; save to a new folder"):
        translating.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["evaluation.json", "items.npz"]
    assert [path.name for path in folder.parent.iterdir()] == ["base"]


@pytest.mark.parametrize("name", ["evaluation.json", "items.npz"])
def test_a_damaged_result_is_an_error_that_names_the_file(lexical, tmp_path: Path, name):
    folder = lexical.save(tmp_path / "base")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CftError, match=rf"{name}: .*; delete the folder and evaluate again"):
        load_result(folder)
    (folder / name).unlink()
    with pytest.raises(CftError, match=rf"{name}: no such evaluation; "):
        load_result(folder)


def test_pickled_arrays_are_refused(lexical, tmp_path: Path):
    folder = lexical.save(tmp_path / "base")
    np.savez(folder / "items.npz", bad=np.array([{"code": "would run"}], dtype=object))
    with pytest.raises(CftError, match=r"items\.npz: not readable"):
        load_result(folder)


def test_wrong_pairs_of_the_histogram_leave_right_answers_out():
    generator = np.random.default_rng(2)
    vectors = generator.normal(size=(200, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(200)
    drawn = cross_lingual_similarities(vectors, vectors, ids, ids, 1)
    assert len(drawn.negatives) <= NEGATIVES
    assert len(drawn.negatives) > 0.99 * NEGATIVES
    assert drawn.negatives.max() < 0.9999  # only a verse with itself reaches one
    np.testing.assert_allclose(drawn.positives, 1, atol=1e-5)
    assert drawn.matrix.shape == (40, 40)
    few = cross_lingual_similarities(vectors[:5], vectors[:5], ids[:5], ids[:5] // 4, 1)
    # Verses 0-3 share one English text, so only verse 4 is wrong for them and they for it.
    assert len(few.negatives) == 8


def test_figures_must_be_finite_and_in_order():
    with pytest.raises(ValueError, match="finite"):
        Figure(value=float("nan"), low=0, high=1)
    with pytest.raises(ValueError, match="upside down"):
        Figure(value=0.5, low=1, high=0)
    flat = Evaluation(
        model="base", figures={"mean/mrr": Figure(value=0.5, low=0.4, high=0.6)}, counts={}
    ).metrics()
    assert flat == {"mean/mrr": 0.5, "mean/mrr_low": 0.4, "mean/mrr_high": 0.6}
