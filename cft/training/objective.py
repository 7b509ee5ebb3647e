"""The contrastive loss of a batch whose texts are spread over ranks.

This is where local embeddings, the collectives and the loss meet. It needs the embeddings of the
local batch and nothing of how they were made.

Shape suffixes: U distinct local texts, B local triplets, K hard negatives of a triplet, D
dimensions, C candidates of all ranks.
"""

from collections.abc import Sequence

import torch

from cft.training.batches import Batch
from cft.training.gather import gather_rows, gather_with_grad, rank, row_counts
from cft.training.loss import LossOutput, false_negatives, info_nce


def contrastive_loss(
    embedding_UD: torch.Tensor,
    batch: Batch,
    temperature: float,
    mask_false_negatives: bool = True,
    counts: Sequence[int] | None = None,
) -> LossOutput:
    """Loss of the local queries against the candidates of all ranks.

    The candidates are the positives of all ranks, then the hard negatives of all ranks, both in
    the order of ranks. So the columns do not depend on how a global batch is cut.

    Args:
        embedding_UD: unit vectors of the distinct texts of the local batch.
        batch: which of them is which, and their text ids.
        temperature: see :func:`cft.training.loss.info_nce`.
        mask_false_negatives: leave out candidates known to match.
        counts: triplets of every rank; empty: they are exchanged, and the host waits for it.
    """
    if counts is None:
        counts = row_counts(batch.triplets, embedding_UD.device)
    ways = batch.negative_BK.shape[1]
    index = torch.cat([batch.positive_B, batch.negative_BK.flatten()])
    candidate_CD = _regroup(
        gather_with_grad(embedding_UD.index_select(0, index), _rows(counts, ways)), counts, ways
    )
    mask_BC = None
    if mask_false_negatives:
        local_ids = torch.cat([batch.positive_ids_B, batch.negative_ids_BK.flatten()])
        candidate_ids_C = _regroup(gather_rows(local_ids, _rows(counts, ways)), counts, ways)
        mask_BC = false_negatives(batch.anchor_ids_B, candidate_ids_C, batch.known_positive_ids_BP)
    start = sum(counts[: rank()])
    own_B = torch.arange(start, start + batch.triplets, device=embedding_UD.device)
    return info_nce(
        embedding_UD.index_select(0, batch.anchor_B),
        candidate_CD,
        own_B,
        temperature,
        mask_BC,
        queries_per_rank=sum(counts) / len(counts),
    )


def _rows(counts: Sequence[int], ways: int) -> list[int]:
    return [count * (1 + ways) for count in counts]


def _regroup(rows: torch.Tensor, counts: Sequence[int], ways: int) -> torch.Tensor:
    """From (positives, negatives) of rank 0, of rank 1, ... to all positives, all negatives."""
    if len(counts) == 1:
        return rows
    blocks = rows.split(_rows(counts, ways))
    positives = [block[:count] for block, count in zip(blocks, counts, strict=True)]
    negatives = [block[count:] for block, count in zip(blocks, counts, strict=True)]
    return torch.cat(positives + negatives)
