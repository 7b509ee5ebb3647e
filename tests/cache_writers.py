"""What processes of their own write to one embedding cache; imports nothing that is slow."""

import numpy as np

from cft.model.cache import EmbeddingCache


def random_vectors(count, seed=0):
    vector_ND = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)


def write_some(folder, writer, ready):
    cache = EmbeddingCache(folder, {"model": 1}, 8)
    ready.wait()
    for turn in range(10):
        ids = np.arange(turn * 10, turn * 10 + 20) + 5 * writer  # they overlap
        cache.put(ids, random_vectors(400)[ids])
        _, known = cache.take(ids)
        assert known.all()
