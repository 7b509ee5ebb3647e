"""Neighbours, hubs, drift and separation against scikit-learn, scipy and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from cft.errors import CftError
from cft.evaluation import metrics
from cft.evaluation.metrics import unit_rows
from cft.evaluation.metrics_neighbours import (
    drift,
    k_occurrences,
    nearest,
    neighbours_lost,
    skewness,
)
from cft.evaluation.metrics_separation import SeparationStatistic, auc_roc, discrimination

FEW = settings(max_examples=50, deadline=None)


def vectors_of(seed, rows=40, width=6):
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, width)))


@pytest.mark.parametrize("chunk", [1, 900, 1 << 22])
def test_neighbours_are_scikit_learns(chunk, monkeypatch):
    monkeypatch.setattr(metrics, "CHUNK_ENTRIES", chunk)
    query, document = vectors_of(1, 25), vectors_of(2)
    found = NearestNeighbors(n_neighbors=7, metric="cosine").fit(document)
    expected = found.kneighbors(query, return_distance=False)
    np.testing.assert_array_equal(nearest(query, document, 7), expected)
    expected = found.kneighbors(return_distance=False)  # of its own points, without themselves
    np.testing.assert_array_equal(nearest(document, document, 7, without_self=True), expected)


def test_equal_cosines_make_no_hubs():
    flat = unit_rows(np.tile(np.arange(1.0, 6.0), (200, 1)))
    found = nearest(flat, flat, 10, without_self=True)
    assert (found != np.arange(200)[:, None]).all()
    assert all(len(set(row)) == 10 for row in found.tolist())
    counts = k_occurrences(found, 200)
    assert counts.sum() == 2000
    assert counts.max() < 30  # by position the first ten would have 200 each
    assert abs(skewness(counts)) < 0.7
    np.testing.assert_array_equal(found, nearest(flat, flat, 10, without_self=True))


def test_hubs_raise_the_skew():
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(300, 50))
    rows[:4] *= 0.02  # four documents near the centre of a cone lie near every query
    cone = unit_rows(rows + 0.5)
    even = unit_rows(generator.normal(size=(300, 3)))
    hubs = k_occurrences(nearest(cone, cone, 10, without_self=True), 300)
    none = k_occurrences(nearest(even, even, 10, without_self=True), 300)
    assert set(np.argsort(-hubs)[:4].tolist()) == {0, 1, 2, 3}
    assert skewness(hubs) > 3
    assert abs(skewness(none)) < 1


@FEW
@given(st.lists(st.integers(-50, 50), min_size=2, max_size=40))
def test_skewness_is_scipys_odd_and_blind_to_scale(x):
    found = skewness(np.array(x))
    if np.ptp(x) == 0:
        assert np.isnan(found)
        return
    assert found == pytest.approx(stats.skew(x), abs=1e-9)
    assert skewness(-3 * np.array(x) + 7) == pytest.approx(-found, abs=1e-9)
    np.testing.assert_allclose(skewness(np.array([x, x])), [found, found])


@pytest.mark.parametrize(("k", "without_self"), [(0, False), (6, False), (5, True)])
def test_more_neighbours_than_documents_are_refused(k, without_self):
    rows = vectors_of(4, 5)
    with pytest.raises(CftError, match=rf"{k} asked for among [45] documents; ask for 1 to"):
        nearest(rows, rows, k, without_self=without_self)


def test_drift_and_lost_neighbours():
    base, tuned = vectors_of(5), vectors_of(6)
    np.testing.assert_allclose(drift(base, base), 0, atol=1e-6)
    np.testing.assert_allclose(drift(base, tuned), 1 - (base * tuned).sum(axis=1), atol=1e-6)
    np.testing.assert_allclose(drift(base, -base), 2, atol=1e-6)
    with pytest.raises(CftError, match=r"shape \(40, 6\) and \(40, 4\); "):
        drift(base, tuned[:, :4])
    own = nearest(base, base, 5, without_self=True)
    other = nearest(tuned, tuned, 5, without_self=True)
    expected = [
        1 - len(set(a) & set(b)) / 5 for a, b in zip(own.tolist(), other.tolist(), strict=True)
    ]
    np.testing.assert_allclose(neighbours_lost(own, other), expected)
    rotation, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(6, 6)))
    turned = unit_rows(base @ rotation)
    assert drift(base, turned).mean() > 0.1
    assert not neighbours_lost(own, nearest(turned, turned, 5, without_self=True)).any()


@FEW
@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40))
def test_area_is_scikit_learns_with_ties(rows):
    score, similar = np.array([one for one, _ in rows]) / 5, np.array([two for _, two in rows])
    area = auc_roc(score, similar)
    if similar.all() or not similar.any():
        assert np.isnan(area)
        assert np.isnan(discrimination(score, similar))
        return
    assert area == pytest.approx(roc_auc_score(similar, score))
    assert auc_roc(-score, similar) == pytest.approx(1 - area)
    assert auc_roc(score, ~similar) == pytest.approx(1 - area)
    assert auc_roc(np.exp(score), similar) == pytest.approx(area)
    expected = score[similar].mean() - score[~similar].mean()
    assert discrimination(score, similar) == pytest.approx(expected, abs=1e-12)


def test_resampled_areas_equal_scikit_learns():
    generator = np.random.default_rng(8)
    score, similar = generator.integers(0, 9, 30) / 9, generator.random(30) < 0.4
    draws = generator.integers(0, 30, (50, 30))
    found = SeparationStatistic(score, similar)(draws)
    for draw, row in zip(draws, found, strict=True):
        mean, other = score[draw][similar[draw]].mean(), score[draw][~similar[draw]].mean()
        expected = [mean, other, mean - other, roc_auc_score(similar[draw], score[draw])]
        np.testing.assert_allclose(row, expected)
