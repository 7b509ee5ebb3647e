"""Packed sequences: many texts end to end in one row, so that no linear layer sees padding.

A packed forward gives every text the embedding that it has alone, whatever its neighbours, its
place and the order of the texts. Only attention mixes positions, and it is told the borders.

Shape suffixes: T tokens of all texts, U texts (segments), P padded positions of all buckets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch

# A bucket holds texts of which none is longer than this multiple of its shortest. Attention is a
# small share of a step at our lengths, so few calls matter more than little padding.
BUCKET_RATIO = 1.25


@dataclass(frozen=True)
class Bucket:
    """Texts of similar length, laid out as ``size`` rows of ``length`` positions."""

    size: int
    length: int
    keep_UL: torch.Tensor | None  # bool, False at padding; None: no padding


@dataclass(frozen=True)
class Buckets:
    """How attention without a variable-length kernel lays a pack out, and back."""

    items: tuple[Bucket, ...]
    token_P: torch.Tensor  # int64: which token stands at a padded position; 0 at padding
    padding: torch.Tensor  # int64: the padded positions that hold no token
    place_T: torch.Tensor  # int64: at which padded position a token stands


@dataclass(frozen=True)
class Packed:
    """One row of texts; index tensors are on the device, lengths also on the host."""

    ids_T: torch.Tensor  # int64 token ids
    positions_T: torch.Tensor  # int64, from 0 in every text
    borders: torch.Tensor  # int32 [U + 1], cumulative lengths
    last_U: torch.Tensor  # int64 index of every text's last token
    lengths: np.ndarray  # int64 [U] on the host: reading them never waits for a device

    @property
    def tokens(self) -> int:
        """Number of tokens; none of them is padding."""
        return len(self.ids_T)

    @property
    def texts(self) -> int:
        """Number of texts."""
        return len(self.lengths)

    @cached_property
    def longest(self) -> int:
        """Length of the longest text, in tokens."""
        return int(self.lengths.max())

    @cached_property
    def lengths_U(self) -> torch.Tensor:
        """Lengths of the texts on the device, ``int64 [U]``."""
        return self.borders.diff().to(torch.int64)

    @cached_property
    def buckets(self) -> Buckets:
        """The padded layout, made on first use."""
        return _buckets(self.lengths, self.ids_T.device)

    def to(self, device: torch.device | str) -> "Packed":
        """The same pack on another device."""
        if torch.device(device) == self.ids_T.device:
            return self
        parts = [self.ids_T, self.positions_T, self.borders, self.last_U]
        if torch.device(device).type == "cuda":
            # From pageable memory the copy would wait for the work that is queued before it.
            parts = [part.pin_memory() for part in parts]
        ids_T, positions_T, borders, last_U = (part.to(device, non_blocking=True) for part in parts)
        return Packed(ids_T, positions_T, borders, last_U, self.lengths)


def pack(sequences: Sequence[np.ndarray], device: torch.device | str = "cpu") -> Packed:
    """Lay token sequences end to end, in the given order.

    Args:
        sequences: ids of every text, each a non-empty integer array.
        device: where the tensors go.

    Raises:
        ValueError: there is no sequence, or an empty one.
    """
    lengths = np.fromiter((len(one) for one in sequences), dtype=np.int64, count=len(sequences))
    flat_T = np.concatenate(sequences) if len(sequences) else np.empty(0, dtype=np.int64)
    return pack_flat(flat_T, lengths, device)


def pack_flat(ids_T: np.ndarray, lengths: np.ndarray, device: torch.device | str = "cpu") -> Packed:
    """Like :func:`pack`, for ids that lie end to end already, ``integer [T]``.

    Raises:
        ValueError: there is no sequence, or an empty one.
    """
    if len(lengths) == 0 or lengths.min() == 0:
        raise ValueError("a pack needs at least one sequence and no empty one")
    ends = np.cumsum(lengths)
    positions_T = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    borders = np.concatenate([[0], ends]).astype(np.int32)
    packed = Packed(
        ids_T=torch.from_numpy(ids_T.astype(np.int64)),
        positions_T=torch.from_numpy(positions_T),
        borders=torch.from_numpy(borders),
        last_U=torch.from_numpy(ends - 1),
        lengths=lengths,
    )
    return packed.to(device)


def _buckets(lengths: np.ndarray, device: torch.device) -> Buckets:
    """Sort texts by length and cut where a text outgrows the bucket's shortest by the ratio."""
    order = np.argsort(lengths, kind="stable")
    by_length = lengths[order]
    starts = np.cumsum(lengths) - lengths
    cuts = [0]
    while cuts[-1] < len(order):
        limit = int(by_length[cuts[-1]] * BUCKET_RATIO)
        cuts.append(int(np.searchsorted(by_length, limit, side="right")))
    items, tokens, place_T = [], [], np.empty(int(lengths.sum()), dtype=np.int64)
    start = 0
    for first, end in pairwise(cuts):
        texts = order[first:end]
        length = int(by_length[end - 1])
        offsets_L = np.arange(length)
        keep_UL = offsets_L[None, :] < lengths[texts][:, None]
        token_UL = starts[texts][:, None] + offsets_L[None, :]
        here = start + np.flatnonzero(keep_UL)
        place_T[token_UL[keep_UL]] = here
        tokens.append(np.where(keep_UL, token_UL, -1).ravel())
        mask = None if keep_UL.all() else torch.from_numpy(keep_UL).to(device, non_blocking=True)
        items.append(Bucket(len(texts), length, mask))
        start += keep_UL.size
    token_P = np.concatenate(tokens)
    padding = np.flatnonzero(token_P < 0)
    token_P[padding] = 0

    def move(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    return Buckets(tuple(items), move(token_P), move(padding), move(place_T))
