"""The contrastive loss of a batch whose texts are spread over ranks.

This is where local embeddings, the collectives, the masks and the loss meet. It needs the
embeddings of the local batch and nothing of how they were made.

Query i is kept apart from the positives and hard negatives of all ranks. Two more kinds of
candidates can stand in its denominator (Li et al. 2023, arXiv:2308.03281, the improved contrastive
loss of GTE), j running over the other triplets of all ranks:

    exp(cos(q_i, q_j) / t)    queries against queries
    exp(cos(p_i, p_j) / t)    positives against positives

Shape suffixes: U distinct local texts, B local triplets, G triplets of all ranks, K hard negatives
of a triplet, D dimensions, C candidates of all ranks, of all kinds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from cft.training.batches import Batch
from cft.training.gather import gather_rows, gather_with_grad, rank, row_counts
from cft.training.loss import LossOutput, cosines, info_nce
from cft.training.masks import closer_than_positive, false_negatives
from cft.training.matryoshka import nested_sizes, truncated


@dataclass(frozen=True)
class LossOptions:
    """What may be added to plain InfoNCE; the fields are those of the recipe."""

    false_negative_margin: float | None = None
    query_query_negatives: bool = False
    document_document_negatives: bool = False
    matryoshka_dims: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Columns:
    """Rows of all ranks, in the order of ranks: vectors or text ids."""

    positive_G: torch.Tensor
    negative_GK: torch.Tensor  # [G * K], the hard negatives of a triplet side by side
    query_G: torch.Tensor | None

    def truncated(self, size: int) -> "_Columns":
        query_G = None if self.query_G is None else truncated(self.query_G, size)
        return _Columns(
            truncated(self.positive_G, size), truncated(self.negative_GK, size), query_G
        )


def contrastive_loss(
    embedding_UD: torch.Tensor,
    batch: Batch,
    temperature: float | torch.Tensor,
    mask_false_negatives: bool = True,
    counts: Sequence[int] | None = None,
    options: LossOptions = LossOptions(),
) -> LossOutput:
    """Loss of the local queries against the candidates of all ranks.

    Candidates stand in the order of ranks, kind by kind, so that the columns do not depend on how
    a global batch is cut. The counts in the output are those of the whole embedding.

    Args:
        embedding_UD: unit vectors of the distinct texts of the local batch.
        batch: which of them is which, and their text ids.
        temperature: see :func:`cft.training.loss.info_nce`.
        mask_false_negatives: leave out candidates known to match.
        counts: triplets of every rank; empty: they are exchanged, and the host waits for it.
        options: further candidates, masks and sizes.
    """
    if counts is None:
        counts = row_counts(batch.triplets, embedding_UD.device)
    query_BD = embedding_UD.index_select(0, batch.anchor_B)
    positive_BD = embedding_UD.index_select(0, batch.positive_B)
    negative_ND = embedding_UD.index_select(0, batch.negative_BK.flatten())
    everyone = _exchange(
        gather_with_grad, query_BD, positive_BD, negative_ND, counts, options.query_query_negatives
    )
    start = sum(counts[: rank()])
    own_B = torch.arange(start, start + batch.triplets, device=embedding_UD.device)
    known_BC = _known_matches(batch, own_B, counts, mask_false_negatives, options)
    outputs = []
    for size in nested_sizes(options.matryoshka_dims, embedding_UD.shape[1]):
        cosine_BC = _all_cosines(
            truncated(query_BD, size), truncated(positive_BD, size), everyone.truncated(size),
            options,
        )  # fmt: skip
        mask_BC = known_BC
        if options.false_negative_margin is not None:
            positive_B = cosine_BC.gather(1, own_B[:, None])[:, 0]
            close_BC = closer_than_positive(cosine_BC, positive_B, options.false_negative_margin)
            mask_BC = close_BC if mask_BC is None else mask_BC | close_BC
        outputs.append(
            info_nce(
                cosine_BC, own_B, temperature, mask_BC,
                queries_per_rank=sum(counts) / len(counts),
                absent=batch.triplets * _squares(options),
            )
        )  # fmt: skip
    loss = torch.stack([one.loss for one in outputs]).mean()
    return LossOutput(loss, outputs[0].negatives, outputs[0].masked)


def _squares(options: LossOptions) -> int:
    """Blocks of candidates in which every triplet meets itself."""
    return options.query_query_negatives + options.document_document_negatives


def _all_cosines(
    query_BD: torch.Tensor, positive_BD: torch.Tensor, everyone: _Columns, options: LossOptions
) -> torch.Tensor:
    documents_CD = torch.cat([everyone.positive_G, everyone.negative_GK])
    blocks = [cosines(query_BD, documents_CD)]
    if everyone.query_G is not None:
        blocks.append(cosines(query_BD, everyone.query_G))
    if options.document_document_negatives:
        blocks.append(cosines(positive_BD, everyone.positive_G))
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)


def _known_matches(
    batch: Batch,
    own_B: torch.Tensor,
    counts: Sequence[int],
    by_text: bool,
    options: LossOptions,
) -> torch.Tensor | None:
    """Where a candidate must be left out by what is known without looking at vectors.

    In a square block a whole triplet is a match when its query or its positive is: the queries of
    two triplets with a common positive say the same, and so do two positives of one query.
    """
    squares = _squares(options)
    blocks = []
    matching_BG: torch.Tensor | None = None
    if by_text:
        ids = _exchange(
            gather_rows, batch.anchor_ids_B, batch.positive_ids_B, batch.negative_ids_BK.flatten(),
            counts, squares > 0,
        )  # fmt: skip

        def match(candidate_ids_C: torch.Tensor) -> torch.Tensor:
            return false_negatives(batch.anchor_ids_B, candidate_ids_C, batch.known_positive_ids_BP)

        blocks.append(match(torch.cat([ids.positive_G, ids.negative_GK])))
        if ids.query_G is not None:
            matching_BG = match(ids.query_G) | blocks[0][:, : sum(counts)]
    elif squares:
        width = sum(counts) * (1 + batch.negative_BK.shape[1])
        blocks.append(torch.zeros(len(own_B), width, dtype=torch.bool, device=own_B.device))
    if squares:
        if matching_BG is None:
            matching_BG = blocks[0].new_zeros(len(own_B), sum(counts))
        # A triplet against itself is no pair at all.
        blocks += [matching_BG.scatter(1, own_B[:, None], True)] * squares
    return torch.cat(blocks, dim=1) if blocks else None


def _exchange(
    gather: Callable[[torch.Tensor, Sequence[int]], torch.Tensor],
    query_B: torch.Tensor,
    positive_B: torch.Tensor,
    negative_N: torch.Tensor,
    counts: Sequence[int],
    with_queries: bool,
) -> _Columns:
    """Rows of all ranks in one collective; without queries where nobody needs them."""
    groups = [positive_B, negative_N, *([query_B] if with_queries else [])]
    # Rows of each group for every triplet: the same on all ranks.
    widths = [len(group) // len(positive_B) for group in groups]
    rows = gather(torch.cat(groups), [count * sum(widths) for count in counts])
    by_rank = rows.split([count * width for count in counts for width in widths])
    wanted = [torch.cat(by_rank[place :: len(groups)]) for place in range(len(groups))]
    return _Columns(wanted[0], wanted[1], wanted[2] if with_queries else None)
