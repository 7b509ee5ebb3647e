"""Matryoshka representations (Kusupati et al. 2022, arXiv:2205.13147).

    l = mean over d in {d_1, ..., d_m, D} of l(normalise(first d entries of every embedding))

so that the first entries of an embedding are an embedding of their own. All sizes weigh the same,
as in the paper, but the sum is a mean: the learning rate keeps its meaning.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import normalize

from cft.errors import CftError


def nested_sizes(dims: Sequence[int], dimension: int) -> list[int]:
    """The sizes that are trained: all of ``dimension`` first, then the others, falling.

    Raises:
        CftError: a size exceeds the embedding.
    """
    if too_large := [one for one in dims if one > dimension]:
        raise CftError(
            f"matryoshka_dims: {too_large[0]} exceeds the {dimension} dimensions of this "
            "backbone's embeddings; leave it out"
        )
    return sorted({dimension, *dims}, reverse=True)


def truncated(vector_ND: torch.Tensor, size: int) -> torch.Tensor:
    """The first ``size`` entries of unit vectors, again of unit norm."""
    if size == vector_ND.shape[1]:
        return vector_ND
    with torch.autocast(vector_ND.device.type, enabled=False):
        return normalize(vector_ND[:, :size].float(), dim=-1)
