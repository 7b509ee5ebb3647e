"""Bootstrap intervals: their reference, their reproducibility and their coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cft.errors import CftError
from cft.evaluation import significance
from cft.evaluation.geometry import GeometryStatistic
from cft.evaluation.metrics import unit_rows
from cft.evaluation.resampled import Correlations, Means
from cft.evaluation.significance import (
    Difference,
    bootstrap,
    paired_bootstrap,
    replicates,
    resamples,
)

GENERATOR = np.random.default_rng(0)
SCORES = GENERATOR.beta(2, 3, size=80)


def test_draws_are_seeded_and_whole():
    first = np.concatenate(list(resamples(30, 200, 5)))
    again = np.concatenate(list(resamples(30, 200, 5)))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (200, 30)
    assert first.min() == 0
    assert first.max() == 29
    assert not np.array_equal(first, np.concatenate(list(resamples(30, 200, 6))))


def test_blocks_change_nothing(monkeypatch):
    whole = replicates(Means(SCORES), 80, 300, 1)
    monkeypatch.setattr(significance, "BLOCK_ENTRIES", 700)
    assert len(list(resamples(80, 300, 1))) > 30
    np.testing.assert_allclose(replicates(Means(SCORES), 80, 300, 1), whole)


def test_means_of_resamples_equal_indexing():
    table = np.stack([SCORES, SCORES**2], axis=1)
    table[:30, 1] = np.nan
    draws = next(iter(resamples(80, 50, 2)))
    found = Means(table)(draws)
    for draw, row in zip(draws, found, strict=True):
        np.testing.assert_allclose(row, [table[draw, 0].mean(), np.nanmean(table[draw, 1])])


def test_interval_of_a_mean_is_scipys():
    (figure,) = bootstrap(Means(SCORES), 80, 4000, 3)
    reference = stats.bootstrap(
        (SCORES,), np.mean, n_resamples=4000, method="percentile", rng=3
    ).confidence_interval
    assert figure.value == pytest.approx(SCORES.mean())
    assert figure.low == pytest.approx(reference.low, abs=0.005)
    assert figure.high == pytest.approx(reference.high, abs=0.005)


def test_interval_of_correlations_is_scipys():
    x = GENERATOR.normal(size=60)
    y = x + GENERATOR.normal(size=60)
    figures = bootstrap(Correlations(x, y), 60, 3000, 4)
    for figure, statistic in zip(figures, (stats.spearmanr, stats.pearsonr), strict=True):
        reference = stats.bootstrap(
            (x, y),
            lambda a, b, statistic=statistic: statistic(a, b).statistic,
            n_resamples=1000,
            paired=True,
            vectorized=False,
            method="percentile",
            rng=4,
        )
        assert figure.value == pytest.approx(statistic(x, y).statistic)
        assert figure.low == pytest.approx(reference.confidence_interval.low, abs=0.04)
        assert figure.high == pytest.approx(reference.confidence_interval.high, abs=0.04)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(11)
    covered = 0
    for trial in range(300):
        (figure,) = bootstrap(Means(generator.exponential(size=100)), 100, 300, trial)
        covered += figure.low <= 1.0 <= figure.high
    assert 0.89 <= covered / 300 <= 0.985


def test_texts_and_not_pairs_are_resampled_for_pairwise_cosines():
    # Vectors in two clusters: pairs are far from independent, so an interval over the 1,225
    # pairs would be several times too narrow against the spread over fresh samples of texts.
    generator = np.random.default_rng(12)
    centres = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])

    def sample():
        noise = generator.normal(size=(50, 4)) * 0.2
        return unit_rows(centres[generator.integers(0, 2, 50)] + noise)

    spread = np.std([GeometryStatistic(sample())(np.arange(50)[None])[0, 1] for _ in range(60)])
    figure = bootstrap(GeometryStatistic(sample()), 50, 500, 0)[1]
    width = (figure.high - figure.low) / (2 * 1.96)
    assert 0.3 * spread < width < 3 * spread


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.integers(0, 100))
def test_intervals_stay_within_the_scores(scores, seed):
    scores = np.array(scores)
    (figure,) = bootstrap(Means(scores), len(scores), 100, seed)
    assert scores.min() - 1e-9 <= figure.low <= figure.high <= scores.max() + 1e-9


def test_more_items_give_a_narrower_interval():
    widths = []
    for size in (50, 200, 800):
        (figure,) = bootstrap(Means(np.resize(SCORES, size)), size, 1000, 0)
        widths.append(figure.high - figure.low)
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.2)
    assert widths[1] / widths[2] == pytest.approx(2, rel=0.2)


def test_an_undefined_figure_is_none_and_a_constant_one_has_no_width():
    assert bootstrap(Correlations(np.ones(9), np.arange(9.0)), 9, 100, 0) == [None, None]
    (figure,) = bootstrap(Means(np.zeros(9)), 9, 100, 0)
    assert (figure.value, figure.low, figure.high) == (0, 0, 0)


def test_pairing_sees_what_separate_intervals_hide():
    generator = np.random.default_rng(21)
    hard = generator.uniform(size=120)  # items differ much, the two models little
    first = hard
    second = np.clip(hard + 0.03 + generator.normal(size=120) * 0.02, 0, None)
    (before,), (after,) = (
        bootstrap(Means(first), 120, 500, 0),
        bootstrap(Means(second), 120, 500, 0),
    )
    (difference,) = paired_bootstrap(Means(first), Means(second), 120, 500, 0)
    assert before.overlaps(after)
    assert difference.low > 0
    assert difference.verdict("higher") == "better"
    assert difference.verdict("lower") == "worse"
    assert difference.value == pytest.approx(second.mean() - first.mean())


def test_a_difference_turns_over_with_its_sides():
    first, second = SCORES, SCORES[::-1].copy()
    (there,) = paired_bootstrap(Means(first), Means(second), 80, 400, 7)
    (back,) = paired_bootstrap(Means(second), Means(first), 80, 400, 7)
    assert there.low == pytest.approx(-back.high)
    assert there.high == pytest.approx(-back.low)
    assert there.verdict("higher") == "not distinguishable"
    (none,) = paired_bootstrap(Means(first), Means(first), 80, 400, 7)
    assert (none.low, none.value, none.high) == (0, 0, 0)
    assert none.verdict("higher") == "not distinguishable"


def test_a_chance_difference_is_found_about_one_time_in_twenty():
    generator = np.random.default_rng(31)
    found = 0
    for trial in range(300):
        first, second = generator.normal(size=(2, 60))
        (difference,) = paired_bootstrap(Means(first), Means(second), 60, 200, trial)
        found += difference.verdict("higher") != "not distinguishable"
    assert found / 300 < 0.11


def test_unlike_statistics_are_refused():
    with pytest.raises(CftError, match=r"1 figures against 2; "):
        paired_bootstrap(Means(SCORES), Means(np.stack([SCORES, SCORES], 1)), 80, 100, 0)


def test_a_figure_without_a_better_way_only_changes():
    assert Difference(0.1, 0.3, 0.1, 0.3).verdict(None) == "changed"
    assert Difference(0.1, 0.3, -0.1, 0.3).verdict(None) == "not distinguishable"
