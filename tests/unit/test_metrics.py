"""Retrieval, correlation and triplet metrics against slow references and other libraries."""

import tracemalloc

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores
from scipy import stats
from sklearn.metrics import roc_auc_score

from cft.errors import CftError
from cft.evaluation import metrics
from cft.evaluation.geometry import anisotropy, uniformity
from cft.evaluation.metrics import (
    hits,
    paired_ranks,
    pearson,
    reciprocal_ranks,
    retrieval_ranks,
    row_cosines,
    spearman,
    triplet_margins,
    triplet_wins,
    unit_rows,
)

FEW = settings(max_examples=60, deadline=None)
numbers = st.floats(-10, 10, allow_subnormal=False, width=32)


def slow_rank(query_id, query_D, document_MD, document_ids, right):
    """Mean rank of the best right answer over the distinct wrong documents, in plain loops."""
    pool = {}
    for one, vector_D in zip(document_ids, document_MD, strict=True):
        pool[one] = float(np.dot(query_D.astype(np.float64), vector_D.astype(np.float64)))
    best = max(score for one, score in pool.items() if (query_id, one) in right)
    wrong = [score for one, score in pool.items() if (query_id, one) not in right]
    better = sum(score > best + 1e-6 for score in wrong)
    tied = sum(abs(score - best) <= 1e-6 for score in wrong)
    return 1 + better + tied / 2


def random_pairs(seed, pairs=60, width=8, texts=25):
    """Pairs in which texts occur again on both sides, equal ids with equal vectors."""
    generator = np.random.default_rng(seed)
    sanskrit_id = generator.integers(0, texts, pairs)
    english_id = generator.integers(0, texts, pairs) + 1000
    sanskrit = unit_rows(generator.normal(size=(texts, width)))[sanskrit_id]
    english = unit_rows(generator.normal(size=(texts, width)))[english_id - 1000]
    return sanskrit, english, sanskrit_id, english_id


@pytest.mark.parametrize("seed", range(4))
def test_ranks_with_repeated_texts_equal_the_slow_reference(seed):
    sanskrit, english, sanskrit_id, english_id = random_pairs(seed)
    right = set(zip(sanskrit_id.tolist(), english_id.tolist(), strict=True))
    ranks = paired_ranks(sanskrit, english, sanskrit_id, english_id)
    expected = [
        slow_rank(one, query, english, english_id.tolist(), right)
        for one, query in zip(sanskrit_id.tolist(), sanskrit, strict=True)
    ]
    np.testing.assert_allclose(ranks, expected)
    assert len(right) < len(sanskrit_id)  # the case is about repetition


def test_chunks_change_nothing(monkeypatch):
    sanskrit, english, sanskrit_id, english_id = random_pairs(9)
    whole = paired_ranks(sanskrit, english, sanskrit_id, english_id)
    monkeypatch.setattr(metrics, "CHUNK_ENTRIES", 70)
    np.testing.assert_array_equal(paired_ranks(sanskrit, english, sanskrit_id, english_id), whole)


def test_a_copy_of_the_right_answer_is_no_error_and_a_near_copy_is_half_of_one():
    query = unit_rows(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    ids = np.array([1, 2, 3])
    # Documents 10 and 11 are different texts with one vector; document 10 stands twice.
    document = unit_rows(np.array([[1.0, 0.1], [1.0, 0.1], [1.0, 0.1]]))
    ranks = paired_ranks(query, document, ids, np.array([10, 10, 11]))
    np.testing.assert_array_equal(ranks, [1.5, 1.5, 1.5])
    ranks = paired_ranks(query, document, ids, np.array([10, 10, 10]))
    np.testing.assert_array_equal(ranks, [1, 1, 1])


def test_a_collapsed_encoder_scores_the_mean_rank():
    vector = unit_rows(np.tile(np.random.default_rng(0).normal(size=64), (101, 1)))
    ids = np.arange(101)
    ranks = paired_ranks(vector, vector, ids, ids)
    np.testing.assert_array_equal(ranks, np.full(101, 51.0))
    assert reciprocal_ranks(ranks).mean() == pytest.approx(1 / 51)
    assert hits(ranks, 5).sum() == 0


def test_retrieval_equals_pytrec_eval():
    generator = np.random.default_rng(3)
    query, document = unit_rows(generator.normal(size=(20, 6))), None
    document = unit_rows(generator.normal(size=(50, 6)))
    ranks = retrieval_ranks(query, document, np.arange(20), np.arange(20))
    run = {f"q{q}": {f"d{d}": float(query[q] @ document[d]) for d in range(50)} for q in range(20)}
    truth = {f"q{q}": {f"d{q}": 1} for q in range(20)}
    names = {"recip_rank", "recall_1", "recall_3", "recall_5"}
    found = pytrec_eval.RelevanceEvaluator(truth, {"recip_rank", "recall.1,3,5"}).evaluate(run)
    assert names <= set(found["q0"])
    by_query = [found[f"q{q}"] for q in range(20)]
    np.testing.assert_allclose(reciprocal_ranks(ranks), [one["recip_rank"] for one in by_query])
    for k in (1, 3, 5):
        np.testing.assert_allclose(hits(ranks, k), [one[f"recall_{k}"] for one in by_query])


def test_retrieval_equals_mtebs():
    generator = np.random.default_rng(13)
    query, document = (unit_rows(generator.normal(size=(rows, 7))) for rows in (25, 40))
    ranks = retrieval_ranks(query, document, np.arange(25), np.arange(25))
    run = {f"q{q}": {f"d{d}": float(query[q] @ document[d]) for d in range(40)} for q in range(25)}
    truth = {f"q{q}": {f"d{q}": 1} for q in range(25)}
    found = calculate_retrieval_scores(run, truth, [1, 3, 5, 40])
    assert found.mrr["MRR@40"] == pytest.approx(reciprocal_ranks(ranks).mean(), abs=1e-5)
    for k in (1, 3, 5):
        share = hits(ranks, k).mean()
        assert found.recall[f"Recall@{k}"] == pytest.approx(share, abs=1e-5)
        (hit_rate,) = (value for name, value in found.hit_rate.items() if name.endswith(f"@{k}"))
        assert hit_rate == pytest.approx(share, abs=1e-5)


def test_best_of_several_right_answers_equals_pytrec_eval():
    generator = np.random.default_rng(4)
    query = unit_rows(generator.normal(size=(12, 5)))
    document = unit_rows(generator.normal(size=(30, 5)))
    query_E, document_E = np.repeat(np.arange(12), 3), generator.permutation(36) % 30
    ranks = retrieval_ranks(query, document, query_E, document_E)
    truth = {f"q{q}": {f"d{d}": 1 for d in document_E[query_E == q].tolist()} for q in range(12)}
    run = {f"q{q}": {f"d{d}": float(query[q] @ document[d]) for d in range(30)} for q in range(12)}
    found = pytrec_eval.RelevanceEvaluator(truth, {"recip_rank"}).evaluate(run)
    np.testing.assert_allclose(
        reciprocal_ranks(ranks), [found[f"q{q}"]["recip_rank"] for q in range(12)]
    )


def test_a_query_without_an_answer_is_named():
    vectors = unit_rows(np.eye(3))
    with pytest.raises(CftError, match=r"query 1: no right answer.*;"):
        retrieval_ranks(vectors, vectors, np.array([0, 2]), np.array([0, 2]))


@FEW
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_ranks_are_bounded_and_order_of_documents_is_nothing(seed, pairs):
    generator = np.random.default_rng(seed)
    query = unit_rows(generator.normal(size=(pairs, 4)))
    document = unit_rows(np.round(generator.normal(size=(pairs, 4))) + 0.25)
    ids = np.arange(pairs)
    ranks = retrieval_ranks(query, document, ids, ids)
    assert ((ranks >= 1) & (ranks <= pairs)).all()
    order = generator.permutation(pairs)
    shuffled = retrieval_ranks(query, document[order], ids, np.argsort(order))
    np.testing.assert_array_equal(shuffled, ranks)
    recall = [hits(ranks, k).mean() for k in (1, 3, 5)]
    assert recall == sorted(recall)
    assert hits(ranks, 1).mean() <= reciprocal_ranks(ranks).mean() <= 1


def test_a_perfect_encoder_is_perfect():
    vectors = unit_rows(np.random.default_rng(1).normal(size=(30, 16)))
    ids = np.arange(30)
    np.testing.assert_array_equal(paired_ranks(vectors, vectors, ids, ids), np.ones(30))


@FEW
@given(arrays(np.float64, st.tuples(st.just(2), st.integers(3, 30)), elements=st.integers(-4, 4)))
def test_correlations_equal_scipy_with_many_ties(both):
    x, y = both
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(pearson(x, y))
        assert np.isnan(spearman(x, y))
        return
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)


@FEW
@given(arrays(np.float64, st.tuples(st.just(2), st.integers(3, 20)), elements=numbers))
def test_correlations_are_bounded_symmetric_and_odd(both):
    x, y = both
    for correlation in (pearson, spearman):
        value = correlation(x, y)
        if np.isnan(value):
            continue
        assert -1 <= value <= 1
        assert correlation(y, x) == pytest.approx(value, abs=1e-9)
        assert correlation(-x, y) == pytest.approx(-value, abs=1e-6)


def test_correlations_of_rows_are_those_of_each_row():
    generator = np.random.default_rng(5)
    x, y = generator.normal(size=(2, 7, 12))
    for correlation in (pearson, spearman):
        expected = [correlation(one, other) for one, other in zip(x, y, strict=True)]
        np.testing.assert_allclose(correlation(x, y), expected)


def test_rounding_dust_is_no_correlation():
    constant = np.full(7, 0.1)
    assert (constant - constant.mean()).any()  # dust: seven tenths divided by seven
    assert np.isnan(pearson(constant, np.arange(7.0)))
    assert np.isnan(pearson(np.arange(7.0), constant))
    assert np.isnan(spearman(constant, np.arange(7.0)))


def test_triplet_accuracy_is_the_area_under_the_curve_with_ties():
    generator = np.random.default_rng(6)
    positive = generator.integers(0, 6, 15) / 10
    negative = generator.integers(0, 5, 20) / 10
    every = np.array([(p, n) for p in positive for n in negative])
    expected = roc_auc_score([1] * 15 + [0] * 20, np.concatenate([positive, negative]))
    assert triplet_wins(every[:, 0], every[:, 1]).mean() == pytest.approx(expected)


@FEW
@given(arrays(np.float64, st.tuples(st.just(2), st.integers(1, 20)), elements=st.floats(-1, 1)))
def test_swapping_positive_and_negative_turns_triplets_over(both):
    positive, negative = both
    wins = triplet_wins(positive, negative)
    assert set(np.unique(wins)) <= {0.0, 0.5, 1.0}
    np.testing.assert_allclose(triplet_wins(negative, positive), 1 - wins)
    margins = triplet_margins(positive, negative)
    np.testing.assert_allclose(triplet_margins(negative, positive), -margins)
    assert (np.abs(margins) <= 2).all()


def test_unit_rows_and_cosines():
    generator = np.random.default_rng(7)
    a, b = generator.normal(size=(2, 9, 5)) * 1e-18
    cosines = row_cosines(unit_rows(a), unit_rows(b))
    expected = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(cosines, expected, atol=1e-6)
    assert unit_rows(a).dtype == np.float32
    for bad in (0.0, np.nan, np.inf):
        a[3] = bad
        with pytest.raises(CftError, match=r"vector row 3: .*;"):
            unit_rows(a)


def test_the_cosine_matrix_is_never_held_whole(monkeypatch):
    monkeypatch.setattr(metrics, "CHUNK_ENTRIES", 1 << 17)
    vectors = unit_rows(np.random.default_rng(8).normal(size=(2000, 16)))
    ids = np.arange(2000)
    tracemalloc.start()
    try:
        paired_ranks(vectors, vectors, ids, ids)
        anisotropy(vectors)
        uniformity(vectors)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2000 * 2000 * 4 / 3
