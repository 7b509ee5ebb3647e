"""A small contrastive step on any number of ranks, light enough to be spawned often."""

from types import SimpleNamespace

import numpy as np
import torch

from cft.training.gather import gather_rows, gather_with_grad, rank, row_counts, sum_over_ranks
from cft.training.objective import LossOptions, contrastive_loss

TEXTS, FEATURES, DIMENSIONS = 20, 6, 5
PLAIN = LossOptions()


def share(rows: int, sizes: list[int], ways: int, number: int) -> SimpleNamespace:
    """Rank ``number``'s part of a fixed random batch, in the shape of a Batch."""
    draw = np.random.default_rng(0)
    ids = np.array([draw.permutation(TEXTS)[: 2 + ways] for _ in range(rows)])
    positives = [ids[ids[:, 0] == anchor, 1] for anchor in ids[:, 0]]
    known = np.array([np.resize(one, max(map(len, positives))) for one in positives])
    start = sum(sizes[:number])
    mine, known = ids[start : start + sizes[number]], known[start : start + sizes[number]]
    distinct_U, place = np.unique(mine, return_inverse=True)
    place = torch.from_numpy(place.reshape(mine.shape))
    mine, known = torch.from_numpy(mine), torch.from_numpy(known)
    return SimpleNamespace(
        texts_U=torch.from_numpy(distinct_U), triplets=len(mine),
        anchor_B=place[:, 0], positive_B=place[:, 1], negative_BK=place[:, 2:],
        anchor_ids_B=mine[:, 0], positive_ids_B=mine[:, 1], negative_ids_BK=mine[:, 2:],
        known_positive_ids_BP=known,
    )  # fmt: skip


def step(
    sizes: list[int], ways: int, masked: bool, exchange: bool, options: LossOptions = PLAIN
) -> dict[str, torch.Tensor]:
    """Loss, gradients and counts of one step of a linear embedder on this rank's share."""
    torch.manual_seed(1)
    features = torch.randn(TEXTS, FEATURES)
    model = torch.nn.Linear(FEATURES, DIMENSIONS)
    batch = share(sum(sizes), sizes, ways, rank())
    vectors = torch.nn.functional.normalize(model(features[batch.texts_U]), dim=-1)
    counts = None if exchange else sizes
    output = contrastive_loss(vectors, batch, 0.05, masked, counts, options)
    output.loss.backward()
    # What data-parallel training does to gradients; its own class takes seconds to import.
    weight, bias = (sum_over_ranks(p.grad) / len(sizes) for p in model.parameters())
    sums = sum_over_ranks(torch.stack([output.negatives, output.masked]))
    return {"loss": output.loss.detach(), "weight": weight, "bias": bias, "sums": sums}


def everything(cases: list[tuple]) -> dict[str, object]:
    """Many cases in one start of the ranks, which costs seconds."""
    return {"primitives": primitives(), "steps": [step(*case) for case in cases]}


def primitives() -> dict[str, torch.Tensor]:
    """What the collectives themselves give for uneven rows; rank r holds r + 1 rows."""
    me = rank()
    rows = (torch.arange((me + 1) * 2.0).reshape(me + 1, 2) + 100 * me).requires_grad_()
    counts = row_counts(me + 1)
    gathered = gather_with_grad(rows, counts)
    # Every rank weighs the rows differently: the gradient must be the sum over ranks.
    (gathered * (me + 1)).sum().backward()
    ids = gather_rows(torch.arange(me + 1) + 10 * me, counts)
    return {
        "counts": torch.tensor(counts), "gathered": gathered.detach(), "gradient": rows.grad,
        "ids": ids,
    }  # fmt: skip
