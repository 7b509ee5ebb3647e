"""The best k of many scored candidates, exact over any number of shards.

A score and the place of its candidate become one int64 key: the order of the keys is that of the
scores, and equal scores stand in the order of the places. No two keys are equal, so the result
does not depend on how the candidates were cut into shards.

Suffixes: Q queries, K kept candidates, S candidates of a shard, H most hits of one query.
"""

import numpy as np

NOTHING = np.iinfo(np.int64).min  # below the key of any number: the place is free
_LOW = 0xFFFFFFFF


def keys_of(score: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Keys of finite float32 scores at places below 2^32, ``int64``, of the same shape."""
    bits = (score + np.float32(0)).view(np.int32).astype(np.int64)  # + 0 makes -0.0 equal to 0.0
    # The bits of negative floats fall as the floats rise: mirrored, they rise too.
    ordered = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (ordered << 32) | (_LOW - place.astype(np.int64))


def places_of(key: np.ndarray) -> np.ndarray:
    """Places of the candidates, ``int64``; -1 where the key is :data:`NOTHING`."""
    return np.where(key == NOTHING, -1, _LOW - (key & _LOW))


def scores_of(key: np.ndarray) -> np.ndarray:
    """Scores of the candidates, ``float32``; ``-inf`` where the key is :data:`NOTHING`."""
    ordered = key >> 32
    bits = np.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).astype(np.int32)
    return np.where(key == NOTHING, np.float32(-np.inf), bits.view(np.float32))


class TopK:
    """Collects the k best allowed candidates of each of Q queries, shard after shard."""

    def __init__(self, queries: int, k: int) -> None:
        self._key_QK = np.full((queries, k), NOTHING, dtype=np.int64)

    def add(self, score_QS: np.ndarray, start: int, allowed_QS: np.ndarray) -> None:
        """Take in the shard of the candidates ``start`` to ``start + S``.

        Args:
            score_QS: ``float32``.
            start: place of the shard's first candidate.
            allowed_QS: which candidates may be kept, ``bool``.
        """
        k = self._key_QK.shape[1]
        # Most candidates are below the worst that is or will be kept and need no key.
        floor_Q = scores_of(self._key_QK.min(axis=1))
        if np.isneginf(floor_Q).any() and score_QS.shape[1] > k:
            known_QS = np.where(allowed_QS, score_QS, np.float32(-np.inf))
            floor_Q = np.maximum(floor_Q, np.partition(known_QS, -k, axis=1)[:, -k])
        hit_QS = allowed_QS & (score_QS >= floor_Q[:, None])
        query_N, column_N = np.nonzero(hit_QS)
        if not len(query_N):
            return
        hits_Q = np.bincount(query_N, minlength=len(score_QS))
        key_QH = np.full((len(score_QS), hits_Q.max()), NOTHING, dtype=np.int64)
        slot_N = np.arange(len(query_N)) - np.repeat(np.cumsum(hits_Q) - hits_Q, hits_Q)
        key_QH[query_N, slot_N] = keys_of(score_QS[query_N, column_N], start + column_N)
        both = np.concatenate([self._key_QK, key_QH], axis=1)
        self._key_QK = np.partition(both, both.shape[1] - k, axis=1)[:, -k:]

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Places ``int64 [Q, K]`` and scores ``float32 [Q, K]``, the best first.

        Queries with fewer than k allowed candidates end in -1 and ``-inf``.
        """
        key_QK = -np.sort(-self._key_QK - 1, axis=1) - 1  # falling; the minimum has no negative
        return places_of(key_QK), scores_of(key_QK)
