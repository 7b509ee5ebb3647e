"""Pooling agrees with float64, whatever the precision of the hidden states."""

import numpy as np
import pytest
import torch

from cft.model.packing import pack
from cft.model.pooling import pool
from tests.tiny import random_sequences


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_pooling_agrees_with_float64(pooling, dtype):
    sequences = random_sequences(50, seed=1)
    packed = pack(sequences)
    hidden_TD = torch.randn(packed.tokens, 16).to(dtype)
    exact_TD = hidden_TD.double().numpy()
    ends = np.cumsum([len(one) for one in sequences])
    rows = [
        exact_TD[end - 1] if pooling == "last" else exact_TD[end - len(one) : end].mean(0)
        for one, end in zip(sequences, ends, strict=True)
    ]
    expected = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = pool(hidden_TD, packed, pooling)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)


def test_cosines_of_an_anisotropic_model_stay_distinct():
    packed = pack([np.array([5], dtype=np.int32)] * 300)
    hidden_TD = (10 + torch.randn(300, 64)).bfloat16()
    cosines = pool(hidden_TD, packed, "last")
    cosines = cosines @ cosines.T
    assert len(cosines.unique()) > 10_000
    assert len(cosines.bfloat16().unique()) < 20
