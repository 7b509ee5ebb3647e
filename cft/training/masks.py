"""Which candidates are no negatives: known matches by text id, likely matches by cosine.

Shape suffixes: B local queries, C candidates of all ranks, P known positives of a query.
"""

import torch


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


def closer_than_positive(
    cosine_BC: torch.Tensor, positive_cosine_B: torch.Tensor, margin: float
) -> torch.Tensor:
    """Where a candidate is suspiciously close, ``bool [B, C]``:

        cos(i, c) > cos(q_i, p_i) - margin

    With margin 0 this is GISTEmbed (Solatorio 2024, arXiv:2402.16829), the model being its own
    guide; a margin above 0 also drops candidates a little further than the positive, as the
    absolute margin of NV-Retriever (Moreira et al. 2024, arXiv:2407.15831); one below 0 drops only
    those clearly closer. The cosines decide and get no gradient for it.
    """
    return cosine_BC.detach() > positive_cosine_B.detach()[:, None] - margin
