"""The loss with every option against float64 loops that follow the formulas."""

import itertools
import math

import pytest
import torch

from cft.errors import CftError
from cft.training.masks import closer_than_positive
from cft.training.matryoshka import nested_sizes, truncated
from cft.training.objective import LossOptions, contrastive_loss
from cft.training.temperature import Temperature
from tests.contrastive import share

DIMENSIONS = 6


def embeddings(batch, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    vectors = torch.randn(len(batch.texts_U), DIMENSIONS, generator=draw)
    return torch.nn.functional.normalize(vectors, dim=-1)


def reference(vector_UD, batch, temperature, masked, options):
    """Loss, negatives and masked of one process: one query, one candidate at a time."""
    results = []
    sizes = {*options.matryoshka_dims, vector_UD.shape[1]}
    for size in sorted(sizes, reverse=True):
        cut_UD = vector_UD
        if size < vector_UD.shape[1]:
            cut_UD = vector_UD[:, :size] / vector_UD[:, :size].norm(dim=1, keepdim=True)
        results.append(_one_size(cut_UD, batch, temperature, masked, options))
    loss = sum(one[0] for one in results) / len(results)
    return loss, results[0][1], results[0][2]


def _one_size(vector_UD, batch, temperature, masked, options):
    queries, positives = vector_UD[batch.anchor_B], vector_UD[batch.positive_B]
    anchor_ids, positive_ids = batch.anchor_ids_B.tolist(), batch.positive_ids_B.tolist()
    total, negatives, left_out = 0.0, 0, 0
    for i in range(batch.triplets):
        matches = {anchor_ids[i], *batch.known_positive_ids_BP[i].tolist()}
        own = queries[i] @ positives[i]
        kept = [own]
        # Each candidate: its cosine and the ids of which none may be a match.
        candidates = []
        for j in range(batch.triplets):
            pair = [anchor_ids[j], positive_ids[j]]
            if j != i:
                candidates.append((queries[i] @ positives[j], [positive_ids[j]]))
                if options.query_query_negatives:
                    candidates.append((queries[i] @ queries[j], pair))
                if options.document_document_negatives:
                    candidates.append((positives[i] @ positives[j], pair))
            for place, id in zip(
                batch.negative_BK[j], batch.negative_ids_BK[j].tolist(), strict=True
            ):
                candidates.append((queries[i] @ vector_UD[place], [id]))
        for cosine, ids in candidates:
            false = masked and not matches.isdisjoint(ids)
            margin = options.false_negative_margin
            if margin is not None and float(cosine.detach()) > float(own.detach()) - margin:
                false = True
            if false:
                left_out += 1
            else:
                negatives += 1
                kept.append(cosine)
        scores = torch.stack(kept) / temperature
        total = total + scores.logsumexp(0) - scores[0]
    return total / batch.triplets, negatives, left_out


OPTIONS = [
    LossOptions(),
    LossOptions(false_negative_margin=0.0),
    LossOptions(false_negative_margin=0.2),
    LossOptions(false_negative_margin=-0.2),
    LossOptions(query_query_negatives=True),
    LossOptions(document_document_negatives=True),
    LossOptions(query_query_negatives=True, document_document_negatives=True),
    LossOptions(matryoshka_dims=(2, 3)),
    LossOptions(0.1, True, True, (2, 4)),
]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("ways", [0, 1, 2])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_loss_gradient_and_counts_agree_with_loops(options, ways, masked):
    batch = share(9, [9], ways, 0)
    mine = embeddings(batch).requires_grad_()
    output = contrastive_loss(mine, batch, 0.1, masked, [9], options)
    output.loss.backward()
    exact = embeddings(batch).double().requires_grad_()
    loss, negatives, left_out = reference(exact, batch, 0.1, masked, options)
    loss.backward()
    assert output.loss.item() == pytest.approx(loss.item(), rel=1e-6, abs=1e-6)
    assert (int(output.negatives), int(output.masked)) == (negatives, left_out)
    torch.testing.assert_close(mine.grad.double(), exact.grad, atol=2e-6, rtol=1e-5)


def test_every_option_changes_the_loss():
    batch = share(9, [9], 1, 0)
    losses = [
        contrastive_loss(embeddings(batch), batch, 0.1, True, [9], one).loss for one in OPTIONS
    ]
    for (one, first), (other, second) in itertools.combinations(
        zip(OPTIONS, losses, strict=True), 2
    ):
        assert abs(first - second) > 1e-4, (one, other)


def test_triplets_that_share_a_text_are_no_negatives_of_another_kind():
    """Both share their positive, so neither their queries nor their positives are kept apart."""
    batch = share(2, [2], 0, 0)
    batch.anchor_ids_B, batch.positive_ids_B = torch.tensor([1, 2]), torch.tensor([3, 3])
    batch.known_positive_ids_BP = torch.tensor([[3], [3]])
    batch.anchor_B, batch.positive_B = torch.tensor([0, 1]), torch.tensor([2, 2])
    options = LossOptions(query_query_negatives=True, document_document_negatives=True)
    output = contrastive_loss(torch.eye(3), batch, 0.1, True, [2], options)
    assert (int(output.negatives), int(output.masked)) == (0, 6)
    assert output.loss.item() == 0


@pytest.mark.parametrize("margin", [-0.1, 0.0, 0.1])
def test_margin_follows_its_formula(margin):
    cosine_BC = torch.tensor([[0.5, 0.55, 0.65, 0.45, 0.35]])
    mask_BC = closer_than_positive(cosine_BC, torch.tensor([0.5]), margin)
    expected = {-0.1: [0, 0, 1, 0, 0], 0.0: [0, 1, 1, 0, 0], 0.1: [1, 1, 1, 1, 0]}
    assert mask_BC.int().tolist() == [expected[margin]]


def test_nested_sizes():
    assert nested_sizes([], 8) == [8]
    assert nested_sizes([4, 2, 8, 4], 8) == [8, 4, 2]
    with pytest.raises(CftError, match="matryoshka_dims: 9 exceeds the 8 dimensions"):
        nested_sizes([4, 9], 8)
    vector_ND = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1)
    assert truncated(vector_ND, 8) is vector_ND
    torch.testing.assert_close(truncated(vector_ND, 3).norm(dim=-1), torch.ones(5))


def test_temperature_fixed_and_learned():
    assert Temperature(0.05)() == 0.05
    assert not list(Temperature(0.05).parameters())
    learned = Temperature(0.05, learned=True)
    assert learned.log_scale.dtype == torch.float32
    assert learned().detach().item() == pytest.approx(0.05, rel=1e-6)
    for outside, kept in ((math.log(200), 0.01), (-1.0, 1.0)):
        with torch.no_grad():
            learned.log_scale.fill_(outside)
        learned.clamp_()
        assert learned().detach().item() == pytest.approx(kept, rel=1e-6)


def test_gradient_of_a_learned_temperature_agrees_with_float64():
    batch = share(7, [7], 1, 0)
    learned = Temperature(0.07, learned=True)
    contrastive_loss(embeddings(batch), batch, learned(), True, [7]).loss.backward()
    scale = torch.tensor(-math.log(0.07), dtype=torch.float64, requires_grad=True)
    exact, *_ = reference(embeddings(batch).double(), batch, torch.exp(-scale), True, LossOptions())
    exact.backward()
    assert learned.log_scale.grad.item() == pytest.approx(scale.grad.item(), rel=1e-5)
