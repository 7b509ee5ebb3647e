"""Which triplets a step takes, and how they become one pack.

The rows of a step are a pure function of seed and step. So resuming needs no state of a loader,
any number of ranks sees the same global batches, and a step can be named and looked at later.

Shape suffixes: G triplets of a global batch, B of a rank's share, K hard negatives of a triplet,
P known positives of an anchor, U distinct texts of the share.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from cft.errors import CftError
from cft.model.packing import Packed, pack_flat
from cft.triplets.store import TokenStore


@dataclass(frozen=True)
class Batch:
    """A rank's share of a global batch; each distinct text stands in the pack once."""

    step: int
    packed: Packed
    anchor_B: torch.Tensor  # int64, places in the pack
    positive_B: torch.Tensor
    negative_BK: torch.Tensor
    anchor_ids_B: torch.Tensor  # int64 text ids
    positive_ids_B: torch.Tensor
    negative_ids_BK: torch.Tensor
    known_positive_ids_BP: torch.Tensor

    @property
    def triplets(self) -> int:
        """B."""
        return len(self.anchor_B)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, torch.Tensor):
                value = value.to(device, non_blocking=True)
            elif isinstance(value, Packed):
                value = value.to(device)
            values[field.name] = value
        return Batch(**values)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, rows: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(rows)


def rows_of_step(seed: int, step: int, rows: int, global_batch: int) -> np.ndarray:
    """Rows of the global batch of ``step`` (from 0), ``int64 [G]``.

    The permutations of all epochs are laid end to end and cut into batches: none is partial, and
    every row is taken equally often. A row that ends one epoch and begins the next may stand twice
    in the batch between them; its copies share their texts' ids, so the loss masks them.
    """
    start = step * global_batch
    parts, left = [], global_batch
    while left:
        epoch, offset = divmod(start, rows)
        part = _permutation(seed, epoch, rows)[offset : offset + left]
        parts.append(part)
        start += len(part)
        left -= len(part)
    return np.concatenate(parts)


def share_of(rows_G: np.ndarray, rank: int, world_size: int) -> np.ndarray:
    """The contiguous share of one rank; shares differ by at most one row."""
    return np.array_split(rows_G, world_size)[rank]


def collate(store: TokenStore, rows_B: np.ndarray, step: int) -> Batch:
    """Read the triplets of some rows and pack their distinct texts once each.

    Where queries have a prompt of their own, a text that is both an anchor and a document is two
    sequences and stands in the pack once as each.
    """
    anchor_ids_B, positive_ids_B, negative_ids_BK = store.triplet_ids(rows_B)
    document_ids = np.concatenate([positive_ids_B, negative_ids_BK.ravel()])
    size, ways = negative_ids_BK.shape
    if store.has_query_tokens:
        queries_U, anchor_B = np.unique(anchor_ids_B, return_inverse=True)
        documents_U, place = np.unique(document_ids, return_inverse=True)
        query_T, query_lengths = store.batch_tokens(queries_U, "query")
        document_T, document_lengths = store.batch_tokens(documents_U)
        flat_T = np.concatenate([query_T, document_T])
        lengths = np.concatenate([query_lengths, document_lengths])
        place = place + len(queries_U)
    else:
        distinct_U, place = np.unique(
            np.concatenate([anchor_ids_B, document_ids]), return_inverse=True
        )
        flat_T, lengths = store.batch_tokens(distinct_U)
        anchor_B, place = place[:size], place[size:]

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(array, dtype=np.int64))  # a copy: the store's is a file

    return Batch(
        step=step,
        packed=pack_flat(flat_T, lengths),
        anchor_B=tensor(anchor_B),
        positive_B=tensor(place[:size]),
        negative_BK=tensor(place[size:].reshape(size, ways)),
        anchor_ids_B=tensor(anchor_ids_B),
        positive_ids_B=tensor(positive_ids_B),
        negative_ids_BK=tensor(negative_ids_BK),
        known_positive_ids_BP=tensor(store.known_positives(anchor_ids_B)),
    )


class BatchLoader:
    """Yields this rank's share of every step from ``first_step`` on, each as ``{"batch": Batch}``.

    Raises:
        CftError: the store has fewer rows than one global batch.
    """

    def __init__(
        self,
        store: TokenStore,
        batch_size: int,
        max_steps: int,
        seed: int,
        rank: int,
        world_size: int,
    ) -> None:
        self.store, self.seed, self.max_steps = store, seed, max_steps
        self.rank, self.world_size = rank, world_size
        self.global_batch = batch_size * world_size
        self.first_step = 0
        if store.rows < self.global_batch:
            raise CftError(
                f"batch_size: a step takes {batch_size} triplets on each of {world_size} "
                f"processes, {self.global_batch} in all, but {store.folder} has {store.rows}; "
                "lower the batch size or give more data"
            )

    def __len__(self) -> int:
        return self.max_steps

    def rows(self, step: int) -> np.ndarray:
        """Rows of the global batch of a step, ``int64 [G]``."""
        return rows_of_step(self.seed, step, self.store.rows, self.global_batch)

    def __iter__(self) -> Iterator[dict[str, Batch]]:
        for step in range(self.first_step, self.max_steps):
            share_B = share_of(self.rows(step), self.rank, self.world_size)
            yield {"batch": collate(self.store, share_B, step)}
