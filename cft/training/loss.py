"""InfoNCE with in-batch negatives of all ranks, hard negatives and masked false negatives.

The loss of query i with positive p(i) and candidates C (van den Oord et al. 2018,
arXiv:1807.03748), cosines divided by the temperature t:

    l(i) = -log( exp(cos(q_i, c_p(i)) / t) / sum over c in C(i) of exp(cos(q_i, c) / t) )

C(i) leaves out every candidate whose text is the query itself or a known positive of it, other
than p(i): two triplets of a batch often share a text, and a true match must not be pushed away.

The loss sees only vectors and text ids. Where the vectors came from (one forward, many, another
rank) is not its business.

Shape suffixes: B local queries, C candidates of all ranks, D dimensions, P known positives.
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


def info_nce(
    query_BD: torch.Tensor,
    candidate_CD: torch.Tensor,
    own_B: torch.Tensor,
    temperature: float,
    mask_BC: torch.Tensor | None = None,
    queries_per_rank: float | None = None,
) -> LossOutput:
    """InfoNCE of the local queries against all candidates, in float32.

    Args:
        query_BD: unit vectors of the local queries.
        candidate_CD: unit vectors of the candidates of all ranks.
        own_B: ``int64``, the column of each query's positive.
        temperature: divides the cosines.
        mask_BC: ``bool``, True where a candidate is left out. A query's own positive never is.
        queries_per_rank: mean number of queries of a rank. The local sum is divided by it, so that
            the mean over ranks, which is what data-parallel training makes of gradients, is the
            mean over all queries even where ranks hold different numbers. Empty: ``B``.
    """
    with torch.autocast(query_BD.device.type, enabled=False):
        logits_BC = query_BD.float() @ candidate_CD.float().T / temperature
        masked = torch.zeros((), dtype=torch.int64, device=logits_BC.device)
        if mask_BC is not None:
            mask_BC = mask_BC.scatter(1, own_B[:, None], False)
            logits_BC = logits_BC.masked_fill(mask_BC, float("-inf"))
            masked = mask_BC.sum()
        total = cross_entropy(logits_BC, own_B, reduction="sum")
        queries, candidates = logits_BC.shape
        loss = total / (queries if queries_per_rank is None else queries_per_rank)
    return LossOutput(loss, queries * (candidates - 1) - masked, masked)


def false_negatives(
    query_ids_B: torch.Tensor, candidate_ids_C: torch.Tensor, known_positive_ids_BP: torch.Tensor
) -> torch.Tensor:
    """Where a candidate's text is the query's own or a known positive's, ``bool [B, C]``.

    The ids are those of texts (equal text, equal id). A query's own column is among them; the loss
    exempts it.
    """
    mask_BC = query_ids_B[:, None] == candidate_ids_C[None, :]
    # Column by column: all at once would take B x C x P bytes.
    for known_B in known_positive_ids_BP.unbind(1):
        mask_BC |= known_B[:, None] == candidate_ids_C[None, :]
    return mask_BC
