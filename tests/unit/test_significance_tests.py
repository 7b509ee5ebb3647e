"""BCa intervals, permutation tests and their correction, against scipy and plain loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cft.evaluation import significance
from cft.evaluation.geometry import GeometryStatistic
from cft.evaluation.metrics import pearson, spearman, unit_rows
from cft.evaluation.metrics_separation import SeparationStatistic, auc_roc
from cft.evaluation.resampled import Correlations, Exchangeable, Means
from cft.evaluation.significance import (
    Difference,
    bootstrap,
    holm,
    paired_bootstrap,
    permutation_test,
    resamples,
)

FEW = settings(max_examples=40, deadline=None)
GENERATOR = np.random.default_rng(0)
SKEWED = GENERATOR.exponential(size=40)


def scipys(data, statistic, seed, samples=2000):
    return stats.bootstrap(
        data, statistic, n_resamples=samples, paired=len(data) > 1, method="bca",
        vectorized=False, rng=seed,
    ).confidence_interval  # fmt: skip


def test_bca_is_scipys_on_the_same_draws():
    (figure,) = bootstrap(Means(SKEWED), 40, 2000, 3, "bca")
    reference = scipys((SKEWED,), np.mean, 3)
    assert figure.low == pytest.approx(reference.low, rel=1e-6)
    assert figure.high == pytest.approx(reference.high, rel=1e-6)
    (plain,) = bootstrap(Means(SKEWED), 40, 2000, 3)
    assert figure.low > plain.low  # a mean of skewed scores is skewed to the right
    assert figure.high > plain.high


def test_bca_of_a_correlation_is_scipys():
    x = GENERATOR.normal(size=30)
    y = x + GENERATOR.normal(size=30)
    figure = bootstrap(Correlations(x, y, ["pearson"]), 30, 2000, 5, "bca")[0]
    reference = scipys((x, y), lambda a, b: stats.pearsonr(a, b).statistic, 5)
    # scipy draws the resamples of paired samples by the same generator, one index for both.
    assert figure.low == pytest.approx(reference.low, abs=0.01)
    assert figure.high == pytest.approx(reference.high, abs=0.01)


def test_bca_by_groups_is_near_that_by_items(monkeypatch):
    scores = np.resize(SKEWED, 400) + GENERATOR.normal(size=400) * 0.01
    monkeypatch.setattr(significance, "JACKKNIFE_GROUPS", 400)
    (whole,) = bootstrap(Means(scores), 400, 2000, 1, "bca")
    monkeypatch.setattr(significance, "JACKKNIFE_GROUPS", 150)  # groups of two, a hundred left over
    (grouped,) = bootstrap(Means(scores), 400, 2000, 1, "bca")
    width = whole.high - whole.low
    assert grouped.low == pytest.approx(whole.low, abs=0.05 * width)
    assert grouped.high == pytest.approx(whole.high, abs=0.05 * width)


def test_bca_covers_skewed_scores_better_than_percentiles():
    covered = dict.fromkeys(("percentile", "bca"), 0)
    for trial in range(300):
        scores = np.random.default_rng(trial).lognormal(sigma=1.2, size=25)
        for method in covered:
            (figure,) = bootstrap(Means(scores), 25, 400, trial, method)
            covered[method] += figure.low <= np.exp(1.2**2 / 2) <= figure.high
    assert covered["bca"] > covered["percentile"]


@pytest.mark.parametrize("scores", [np.zeros(9), np.ones(1), np.array([0.0, 1.0])])
def test_bca_of_what_never_varies_falls_back(scores):
    (figure,) = bootstrap(Means(scores), len(scores), 100, 0, "bca")
    assert figure.low <= figure.value <= figure.high


def test_bca_of_geometry_is_ordered():
    vectors = unit_rows(GENERATOR.normal(size=(30, 8)) + 1)
    for figure in bootstrap(GeometryStatistic(vectors), 30, 200, 0, "bca"):
        assert figure.low <= figure.high


def test_permutation_of_means_is_scipys_and_the_exact_test():
    first = GENERATOR.uniform(size=11)
    second = first + GENERATOR.normal(size=11) * 0.1 + 0.05
    found = permutation_test(Means(first), Means(second), 11, 20_000, 0)[0]
    reference = stats.permutation_test(
        (first, second), lambda a, b: np.mean(b) - np.mean(a), permutation_type="samples",
        n_resamples=np.inf, vectorized=False,
    )  # fmt: skip
    gap = second - first
    every = [abs(np.dot(gap, signs)) for signs in itertools.product((1, -1), repeat=11)]
    exact = np.mean(np.array(every) >= abs(gap.sum()) - 1e-12)
    assert reference.pvalue == pytest.approx(exact)
    assert found == pytest.approx(exact, abs=0.01)


def test_trading_no_item_is_the_difference_and_trading_all_is_its_opposite():
    gold = GENERATOR.integers(0, 6, 25).astype(float)
    first, second = GENERATOR.normal(size=(2, 25))
    similar = gold > 2
    none, every = np.zeros((1, 25), bool), np.ones((1, 25), bool)
    table = np.stack([first, np.where(similar, first, np.nan)], axis=1)
    other = np.stack([second, np.where(similar, second, np.nan)], axis=1)
    for one, two in (
        (Means(table), Means(other)),
        (Correlations(first, gold), Correlations(second, gold)),
        (SeparationStatistic(first, similar), SeparationStatistic(second, similar)),
    ):
        assert isinstance(one, Exchangeable)
        difference = two(np.arange(25)[None]) - one(np.arange(25)[None])
        np.testing.assert_allclose(one.exchanged(two, none), difference, atol=1e-12)
        np.testing.assert_allclose(one.exchanged(two, every), -difference, atol=1e-12)


def test_traded_correlations_and_areas_equal_plain_loops():
    gold = GENERATOR.integers(0, 4, 14).astype(float)
    first = GENERATOR.normal(size=14)
    second = np.round(GENERATOR.normal(size=14), 1) * 50 + 7  # another range, with ties
    swaps = GENERATOR.random((6, 14)) < 0.5
    found = Correlations(first, gold).exchanged(Correlations(second, gold), swaps)
    areas = SeparationStatistic(first, gold > 1).exchanged(
        SeparationStatistic(second, gold > 1), swaps
    )
    for row, swap in enumerate(swaps):
        for column, rescale, correlation in (
            (0, stats.rankdata, spearman), (1, stats.zscore, pearson),
        ):  # fmt: skip
            a, b = rescale(first), rescale(second)
            one = [b[i] if swap[i] else a[i] for i in range(14)]
            two = [a[i] if swap[i] else b[i] for i in range(14)]
            expected = correlation(two, gold) - correlation(one, gold)
            assert found[row, column] == pytest.approx(expected)
        a, b = stats.rankdata(first), stats.rankdata(second)
        expected = auc_roc(np.where(swap, a, b), gold > 1) - auc_roc(np.where(swap, b, a), gold > 1)
        assert areas[row, 3] == pytest.approx(expected)


def test_the_range_of_cosines_decides_nothing():
    gold = GENERATOR.normal(size=60)
    score = gold + GENERATOR.normal(size=60)
    narrow = 0.98 + 0.001 * score  # the same order, squeezed
    p = permutation_test(Correlations(score, gold), Correlations(narrow, gold), 60, 200, 0)
    np.testing.assert_array_equal(p, 1)


def test_p_is_uniform_where_the_two_are_alike():
    generator = np.random.default_rng(5)
    p = [
        permutation_test(*map(Means, generator.normal(size=(2, 30))), 30, 199, trial)[0]
        for trial in range(300)
    ]
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert min(p) > 0


@FEW
@given(st.integers(0, 1000), st.integers(1, 30))
def test_p_is_bounded_symmetric_and_seeded(seed, items):
    first, second = np.random.default_rng(seed).normal(size=(2, items))
    there = permutation_test(Means(first), Means(second), items, 150, seed)
    assert 1 / 151 <= there[0] <= 1
    back = permutation_test(Means(second), Means(first), items, 150, seed)
    np.testing.assert_array_equal(there, back)
    np.testing.assert_array_equal(permutation_test(Means(first), Means(first), items, 150, 0), 1)


def test_blocks_of_trades_change_nothing(monkeypatch):
    first, second = GENERATOR.normal(size=(2, 50))
    whole = permutation_test(Means(first), Means(second), 50, 300, 1)
    monkeypatch.setattr(significance, "BLOCK_ENTRIES", 700)
    np.testing.assert_array_equal(permutation_test(Means(first), Means(second), 50, 300, 1), whole)
    assert len(list(resamples(50, 300, 1))) > 20


def test_holm_never_lets_a_larger_p_pass_a_smaller_one():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert holm([]).shape == (0,)


@FEW
@given(st.lists(st.integers(0, 60).map(lambda n: n / 400), min_size=1, max_size=8))
def test_holm_rejects_what_the_sequential_procedure_rejects(p):
    adjusted = holm(p)
    assert (adjusted >= np.array(p) - 1e-15).all()
    assert (adjusted <= 1).all()
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for place, row in enumerate(sorted(range(len(p)), key=lambda one: p[one])):
            if p[row] * (len(p) - place) > level:
                break
            rejected.add(row)
        assert {row for row in range(len(p)) if adjusted[row] <= level} == rejected


def test_a_verdict_needs_interval_and_test():
    assert Difference(0.1, 0.3, 0.1, 0.3, p=0.01).verdict("higher") == "better"
    assert Difference(0.1, 0.3, 0.1, 0.3, p=0.06).verdict("higher") == "not distinguishable"
    corrected = Difference(0.1, 0.3, 0.1, 0.3, p=0.03, p_adjusted=0.09)
    assert corrected.verdict("higher") == "not distinguishable"
    assert Difference(0.3, 0.1, -0.3, -0.1, p=0.03, p_adjusted=0.04).verdict("higher") == "worse"
    assert Difference(0.1, 0.3, -0.1, 0.3, p=0.01).verdict("higher") == "not distinguishable"


def test_the_paired_bootstrap_brings_p_where_items_can_be_traded():
    first = GENERATOR.uniform(size=40)
    (difference,) = paired_bootstrap(Means(first), Means(first + 0.1), 40, 400, 0)
    assert difference.p == pytest.approx(1 / 401)
    vectors = unit_rows(GENERATOR.normal(size=(2, 20, 6)).reshape(40, 6))
    pair = GeometryStatistic(vectors[:20]), GeometryStatistic(vectors[20:])
    assert all(one.p is None for one in paired_bootstrap(*pair, 20, 100, 0))
