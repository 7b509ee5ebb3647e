"""The best k of sharded candidates are those of one sorted list."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cft.mining.topk import NOTHING, TopK, keys_of, places_of, scores_of

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS, min_size=1, max_size=30))
def test_keys_sort_as_scores_do_and_ties_as_places_do(values):
    score = np.array(values, dtype=np.float32)
    place = np.arange(len(values))[::-1].copy()
    key = keys_of(score, place)
    expected = sorted(range(len(values)), key=lambda one: (-score[one], place[one]))
    assert np.argsort(-key, kind="stable").tolist() == expected
    assert len(set(key.tolist())) == len(values)
    np.testing.assert_array_equal(places_of(key), place)
    np.testing.assert_array_equal(scores_of(key), score)
    assert (key > NOTHING).all()


def slow_topk(score_S, allowed_S, k):
    """One candidate after the other."""
    kept = [(-float(s), place) for place, s in enumerate(score_S) if allowed_S[place]]
    kept = sorted(kept)[:k]
    places = [place for _, place in kept] + [-1] * (k - len(kept))
    return places, [score_S[one] if one >= 0 else -np.inf for one in places]


@given(st.data())
def test_any_cut_into_shards_gives_the_same(data):
    queries, candidates = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 25))
    k = data.draw(st.integers(1, 8))
    # Few distinct scores, so that ties stand at every border.
    cells = st.sampled_from([-1.5, -0.0, 0.0, 0.25, 0.5, 3.0])
    score = np.array(
        data.draw(st.lists(cells, min_size=queries * candidates, max_size=queries * candidates)),
        dtype=np.float32,
    ).reshape(queries, candidates)
    seed = data.draw(st.integers(0, 9))
    allowed = np.random.default_rng(seed).random(score.shape) < 0.7
    cuts = sorted(data.draw(st.sets(st.integers(1, 24), max_size=6)))
    edges = [0, *[cut for cut in cuts if cut < candidates], candidates]
    best = TopK(queries, k)
    for start, stop in pairwise(edges):
        best.add(score[:, start:stop], start, allowed[:, start:stop])
    place_QK, score_QK = best.result()
    for query in range(queries):
        places, scores = slow_topk(score[query] + 0.0, allowed[query], k)
        assert place_QK[query].tolist() == places
        assert score_QK[query].tolist() == pytest.approx(scores)


def test_nothing_allowed_is_nothing_found():
    best = TopK(2, 3)
    best.add(np.ones((2, 5), np.float32), 0, np.zeros((2, 5), bool))
    place_QK, score_QK = best.result()
    assert (place_QK == -1).all()
    assert (score_QK == -np.inf).all()
