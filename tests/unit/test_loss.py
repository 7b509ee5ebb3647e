"""InfoNCE and its mask against float64 loops that follow the formula."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.training.loss import cosines, info_nce
from cft.training.masks import false_negatives


def unit(rows: int, dimensions: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, dimensions, generator=draw), dim=-1)


def loss_of(query_BD, candidate_CD, *rest, **named):
    return info_nce(cosines(query_BD, candidate_CD), *rest, **named)


def reference(query_BD, candidate_CD, own_B, temperature, mask_BC=None) -> float:
    """The formula of the docstring, one query at a time, in float64."""
    q, c = np.asarray(query_BD, dtype=np.float64), np.asarray(candidate_CD, dtype=np.float64)
    losses = []
    for i, own in enumerate(own_B.tolist()):
        scores = [float(q[i] @ c[j]) / temperature for j in range(len(c))]
        kept = [j for j in range(len(c)) if j == own or mask_BC is None or not bool(mask_BC[i, j])]
        losses.append(np.log(sum(np.exp(scores[j] - scores[own]) for j in kept)))
    return float(np.mean(losses))


def reference_mask(query_ids, candidate_ids, known) -> np.ndarray:
    return np.array(
        [
            [c == q or c in set(k) for c in candidate_ids]
            for q, k in zip(query_ids, known, strict=True)
        ]
    )


@pytest.mark.parametrize("temperature", [0.01, 0.05, 1.0])
@pytest.mark.parametrize("masked", [False, True])
def test_loss_agrees_with_float64(temperature, masked):
    query_BD, candidate_CD = unit(13, 24, 1), unit(40, 24, 2)
    own_B = torch.randperm(40, generator=torch.Generator().manual_seed(3))[:13]
    mask_BC = torch.rand(13, 40, generator=torch.Generator().manual_seed(4)) < 0.3
    output = loss_of(query_BD, candidate_CD, own_B, temperature, mask_BC if masked else None)
    expected = reference(query_BD, candidate_CD, own_B, temperature, mask_BC if masked else None)
    assert output.loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_half_precision_and_autocast_do_not_reach_the_logits():
    query_BD, candidate_CD = unit(8, 64, 1).bfloat16(), unit(20, 64, 2).bfloat16()
    own_B = torch.arange(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = loss_of(query_BD, candidate_CD, own_B, 0.05)
    assert output.loss.dtype == torch.float32
    expected = reference(query_BD.float(), candidate_CD.float(), own_B, 0.05)
    assert output.loss.item() == pytest.approx(expected, rel=1e-6)


def test_gradient_agrees_with_float64_autograd():
    query_BD, candidate_CD = unit(6, 12, 5), unit(18, 12, 6)
    own_B = torch.arange(6)
    mask_BC = torch.rand(6, 18, generator=torch.Generator().manual_seed(7)) < 0.4
    mine = [query_BD.clone().requires_grad_(), candidate_CD.clone().requires_grad_()]
    loss_of(*mine, own_B, 0.05, mask_BC).loss.backward()
    exact = [part.double().requires_grad_() for part in (query_BD, candidate_CD)]
    scores = exact[0] @ exact[1].T / 0.05
    keep = ~mask_BC
    keep[own_B, own_B] = True
    total = (scores.exp() * keep).sum(1).log() - scores[own_B, own_B]
    total.mean().backward()
    for one, other in zip(mine, exact, strict=True):
        np.testing.assert_allclose(one.grad, other.grad, atol=1e-5)


def test_a_masked_candidate_has_no_influence():
    query_BD, candidate_CD = unit(4, 8, 1), unit(9, 8, 2).requires_grad_()
    mask_BC = torch.zeros(4, 9, dtype=torch.bool)
    mask_BC[:, 7] = True
    output = loss_of(query_BD, candidate_CD, torch.arange(4), 0.05, mask_BC)
    without = loss_of(
        query_BD, torch.cat([candidate_CD[:7], candidate_CD[8:]]), torch.arange(4), 0.05
    )
    torch.testing.assert_close(output.loss, without.loss)
    output.loss.backward()
    assert not candidate_CD.grad[7].any()
    assert candidate_CD.grad[[0, 8]].any()
    assert int(output.masked) == 4
    assert int(output.negatives) == 4 * 7 == int(without.negatives)


def test_the_own_positive_is_never_masked():
    query_BD, candidate_CD = unit(3, 8, 1), unit(5, 8, 2)
    everything = torch.ones(3, 5, dtype=torch.bool)
    output = loss_of(query_BD, candidate_CD, torch.tensor([4, 0, 2]), 0.05, everything)
    assert output.loss.item() == 0
    assert int(output.negatives) == 0
    assert int(output.masked) == 3 * 4


def test_local_sums_are_weighted_by_queries_per_rank():
    query_BD, candidate_CD, own_B = unit(6, 8, 1), unit(12, 8, 2), torch.arange(6)
    whole = loss_of(query_BD, candidate_CD, own_B, 0.05).loss
    cuts = [(0, 1), (1, 6)]
    parts = [
        loss_of(query_BD[a:b], candidate_CD, own_B[a:b], 0.05, queries_per_rank=3).loss
        for a, b in cuts
    ]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_a_query_whose_text_is_a_candidate_is_no_floor_of_the_loss():
    """A perfect model, whose query also stands among the candidates of another row."""
    vectors = torch.eye(4)
    ids = torch.tensor([10, 11, 12, 13])
    query, candidates, own = vectors[:2], vectors[[0, 1, 0, 1]], torch.tensor([0, 1])
    candidate_ids = ids[[2, 3, 0, 1]]
    mask = false_negatives(ids[:2], candidate_ids, ids[[2, 3]][:, None])
    assert loss_of(query, candidates, own, 0.05, mask).loss.item() < 1e-6
    assert loss_of(query, candidates, own, 0.05).loss.item() == pytest.approx(np.log(2), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cosines_agree_with_float64(dtype):
    """Also those of an anisotropic model, whose cosines lie close together."""
    query_BD, candidate_CD = unit(50, 256, 1) + 1, unit(60, 256, 2) + 1
    query_BD, candidate_CD = (
        torch.nn.functional.normalize(one, dim=-1).to(dtype) for one in (query_BD, candidate_CD)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cosine_BC = cosines(query_BD, candidate_CD)
    assert cosine_BC.dtype == torch.float32
    exact_BC = query_BD.double().numpy() @ candidate_CD.double().numpy().T
    np.testing.assert_allclose(cosine_BC.numpy(), exact_BC, atol=1e-6)


def test_places_that_are_no_candidates_count_neither_way():
    mask_BC = torch.zeros(4, 9, dtype=torch.bool)
    mask_BC[torch.arange(4), torch.arange(4) + 5] = True
    output = loss_of(unit(4, 8, 1), unit(9, 8, 2), torch.arange(4), 0.05, mask_BC, absent=4)
    assert (int(output.negatives), int(output.masked)) == (4 * 7, 0)


ids = st.integers(-3, 3)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_mask_agrees_with_sets(data):
    queries = data.draw(st.lists(ids, min_size=1, max_size=6))
    candidates = data.draw(st.lists(ids, min_size=1, max_size=8))
    width = data.draw(st.integers(0, 3))
    known = [data.draw(st.lists(ids, min_size=width, max_size=width)) for _ in queries]
    mask = false_negatives(
        torch.tensor(queries), torch.tensor(candidates),
        torch.tensor(known, dtype=torch.int64).reshape(len(queries), width),
    )  # fmt: skip
    np.testing.assert_array_equal(mask.numpy(), reference_mask(queries, candidates, known))
