"""Collectives of contrastive training: every rank sees the rows of all ranks, with gradients.

All functions work without a process group (one rank). Row counts may differ between ranks.

Why the gather carries gradients: a candidate of rank j stands in the denominators of all ranks, so
its gradient is the sum of what every rank's loss says. Detached gathers make it too small, and
scaling a gather by the number of ranks too large; Adam hides both. Exactness is a test.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist


def world_size() -> int:
    """Number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This rank; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def row_counts(count: int, device: torch.device | str = "cpu") -> list[int]:
    """How many rows every rank has. The host waits for the answer; skip it where it is known."""
    if world_size() == 1:
        return [count]
    own = torch.tensor([count], dtype=torch.int64, device=device)
    return [int(one) for one in _all_gather(own, [1] * world_size())]


def gather_rows(rows: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Rows of all ranks in the order of ranks, ``[sum(counts), ...]``, without gradients.

    Args:
        rows: this rank's, ``[counts[rank], ...]``.
        counts: rows of every rank, the same list everywhere.
    """
    return rows.detach() if world_size() == 1 else _all_gather(rows.detach(), counts)


def gather_with_grad(rows: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Like :func:`gather_rows`; the gradient of a row is the sum over the losses of all ranks."""
    return rows if world_size() == 1 else _Gather.apply(rows, tuple(counts))


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Elementwise sum over the ranks, on every rank, without gradients."""
    total = values.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, counts: tuple[int, ...]) -> torch.Tensor:
        ctx.counts = counts
        return _all_gather(rows, counts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        start = sum(ctx.counts[: rank()])
        return total[start : start + ctx.counts[rank()]], None


def _all_gather(rows: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """One collective of equal blocks: shorter ranks are padded to the longest, then cut."""
    if len(counts) != world_size() or counts[rank()] != len(rows):
        raise ValueError(f"rank {rank()} has {len(rows)} rows, but the counts are {list(counts)}")
    longest = max(counts)
    block = rows.contiguous()
    if len(rows) < longest:
        block = torch.cat([block, block.new_zeros(longest - len(rows), *block.shape[1:])])
    gathered = block.new_empty(longest * len(counts), *block.shape[1:])
    dist.all_gather_into_tensor(gathered, block)
    if min(counts) == longest:
        return gathered
    return torch.cat([part[:n] for part, n in zip(gathered.split(longest), counts, strict=True)])
