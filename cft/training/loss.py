"""InfoNCE over cosines, some of which are left out.

The loss of query i with positive p(i) and candidates C (van den Oord et al. 2018,
arXiv:1807.03748), cosines divided by the temperature t:

    l(i) = -log( exp(cos(q_i, c_p(i)) / t) / sum over c in C(i) of exp(cos(q_i, c) / t) )

C(i) leaves out every candidate that is masked: two triplets of a batch often share a text, and a
true match must not be pushed away. p(i) itself is never left out.

The loss sees only cosines. Where the vectors came from (one forward, many, another rank) and which
pairs were masked is not its business.

Shape suffixes: B local queries, C candidates of all ranks, D dimensions.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class LossOutput:
    """What one evaluation of the loss gives; tensors, so that nobody waits for the device."""

    loss: torch.Tensor  # scalar float32, differentiable
    negatives: torch.Tensor  # scalar int64, candidates in all local denominators but the positives
    masked: torch.Tensor  # scalar int64, candidates left out of them


def cosines(query_BD: torch.Tensor, candidate_CD: torch.Tensor) -> torch.Tensor:
    """Inner products of unit vectors, ``float32 [B, C]``, whatever the precision around."""
    with torch.autocast(query_BD.device.type, enabled=False):
        return query_BD.float() @ candidate_CD.float().T


def info_nce(
    cosine_BC: torch.Tensor,
    own_B: torch.Tensor,
    temperature: float | torch.Tensor,
    mask_BC: torch.Tensor | None = None,
    queries_per_rank: float | None = None,
    absent: int = 0,
) -> LossOutput:
    """InfoNCE of the local queries against all candidates, in float32.

    Args:
        cosine_BC: of the local queries and the candidates of all ranks.
        own_B: ``int64``, the column of each query's positive.
        temperature: divides the cosines; a scalar tensor where it is learned.
        mask_BC: ``bool``, True where a candidate is left out. A query's own positive never is.
        queries_per_rank: mean number of queries of a rank. The local sum is divided by it, so that
            the mean over ranks, which is what data-parallel training makes of gradients, is the
            mean over all queries even where ranks hold different numbers. Empty: ``B``.
        absent: masked places that are no candidates in the first place, like a query against
            itself; they count neither as negatives nor as masked.
    """
    with torch.autocast(cosine_BC.device.type, enabled=False):
        logits_BC = cosine_BC.float() / temperature
        left_out = torch.zeros((), dtype=torch.int64, device=logits_BC.device)
        if mask_BC is not None:
            mask_BC = mask_BC.scatter(1, own_B[:, None], False)
            logits_BC = logits_BC.masked_fill(mask_BC, float("-inf"))
            left_out = mask_BC.sum()
        total = cross_entropy(logits_BC, own_B, reduction="sum")
        queries, candidates = logits_BC.shape
        loss = total / (queries if queries_per_rank is None else queries_per_rank)
    return LossOutput(loss, queries * (candidates - 1) - left_out, left_out - absent)
