"""Anisotropy, uniformity and alignment against whole matrices and slow resampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.evaluation import geometry, metrics
from cft.evaluation.geometry import (
    GEOMETRY,
    GeometryStatistic,
    alignment,
    anisotropy,
    extreme_pairs,
    mean_cosine,
    uniformity,
)
from cft.evaluation.metrics import row_cosines, unit_rows
from cft.evaluation.significance import point, resamples


def cone(rows, width=12, offset=2.0, seed=0):
    """Unit vectors in a cone, as a raw language model gives them."""
    generator = np.random.default_rng(seed)
    return unit_rows(generator.normal(size=(rows, width)) + offset)


def slow(vector_ND, item_N=None):
    """The six figures from the whole matrix; pairs of copies of one text are left out."""
    item_N = np.arange(len(vector_ND)) if item_N is None else item_N
    cosine = vector_ND.astype(np.float64) @ vector_ND.astype(np.float64).T
    pairs = [
        cosine[i, j] for a, i in enumerate(item_N) for b, j in enumerate(item_N) if b > a and i != j
    ]
    squared_distance = 2 - 2 * np.array(pairs)
    return [
        np.mean(pairs),
        np.std(pairs),
        np.min(pairs),
        np.max(pairs),
        np.ptp(pairs),
        np.log(np.mean(np.exp(-2 * squared_distance))),
    ]


@pytest.mark.parametrize("chunk", [1, 50, 1 << 22])
def test_figures_equal_those_of_the_whole_matrix(chunk, monkeypatch):
    monkeypatch.setattr(metrics, "CHUNK_ENTRIES", chunk)
    vectors = cone(37)
    found = anisotropy(vectors)
    np.testing.assert_allclose(
        [found.mean, found.std, found.min, found.max, found.range, uniformity(vectors)],
        slow(vectors),
        atol=1e-5,
    )
    assert mean_cosine(vectors) == pytest.approx(slow(vectors)[0], abs=1e-7)
    np.testing.assert_allclose(point(GeometryStatistic(vectors), 37), slow(vectors), atol=1e-5)


def test_resampled_figures_equal_slow_resampling():
    vectors = cone(15, seed=3)
    draws = next(iter(resamples(15, 40, 1)))
    found = GeometryStatistic(vectors)(draws)
    assert found.shape == (40, len(GEOMETRY))
    expected = [slow(vectors, draw) for draw in draws]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_extremes_are_exact_where_every_kept_pair_is_missing(monkeypatch):
    # An outlier takes part in all of the lowest pairs; a resample without it has none of them.
    vectors = np.concatenate([-cone(1, seed=8), cone(9, seed=4)])
    statistic = GeometryStatistic(vectors)
    kept = slice(0, 3)
    statistic.lowest = tuple(part[kept] for part in statistic.lowest)
    statistic.highest = tuple(part[kept] for part in statistic.highest)
    draw = np.array([[1, 2, 3, 4, 5, 6, 7, 8, 9, 9]])
    np.testing.assert_allclose(statistic(draw)[0], slow(vectors, draw[0]), atol=1e-5)


def test_a_resample_of_one_text_has_no_figure():
    assert np.isnan(GeometryStatistic(cone(4))(np.array([[2, 2, 2, 2]]))).all()
    assert np.isnan(uniformity(cone(1)))
    assert np.isnan(anisotropy(cone(1)).mean)


def test_extreme_pairs_are_the_smallest_in_order(monkeypatch):
    monkeypatch.setattr(metrics, "CHUNK_ENTRIES", 60)
    vectors = cone(20, seed=5)
    first, second, value = extreme_pairs(vectors, 25)
    upper = np.triu_indices(20, 1)
    every = (vectors @ vectors.T)[upper]
    np.testing.assert_allclose(value, np.sort(every)[:25], atol=1e-6)
    np.testing.assert_allclose(row_cosines(vectors[first], vectors[second]), value, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 30), st.floats(0, 5))
def test_bounds_and_rotation(seed, rows, offset):
    vectors = cone(rows, width=6, offset=offset, seed=seed)
    found = anisotropy(vectors)
    assert -1 - 1e-6 <= found.min <= found.mean + 1e-6
    assert found.mean <= found.max + 1e-6
    assert found.max <= 1 + 1e-6
    assert 0 <= found.std <= (found.max - found.min) / 2 + 1e-5
    assert -8 - 1e-5 <= uniformity(vectors) <= 1e-5
    # Jensen: the log of the mean potential is at least the mean of its logarithm.
    assert uniformity(vectors) >= 4 * (found.mean - 1) - 1e-5
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))
    turned = unit_rows(vectors @ rotation)
    assert uniformity(turned) == pytest.approx(uniformity(vectors), abs=1e-4)
    assert anisotropy(turned).std == pytest.approx(found.std, abs=1e-4)


def test_known_values():
    axes = unit_rows(np.eye(5))
    assert anisotropy(axes) == geometry.Anisotropy(0.0, 0.0, 0.0, 0.0)
    assert uniformity(axes) == pytest.approx(-4)
    same = unit_rows(np.ones((5, 3)))
    assert uniformity(same) == pytest.approx(0, abs=1e-6)
    assert anisotropy(same).mean == pytest.approx(1, abs=1e-6)
    assert uniformity(unit_rows(np.array([[1.0, 0.0], [-1.0, 0.0]]))) == pytest.approx(-8)
    a, b = cone(6, seed=1), cone(6, seed=2)
    np.testing.assert_allclose(alignment(row_cosines(a, b)), ((a - b) ** 2).sum(axis=1), atol=1e-5)
