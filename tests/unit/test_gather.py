"""Loss and gradients of several ranks are those of one process on the whole batch."""

import pytest
import torch

from cft.training.gather import gather_rows, gather_with_grad, row_counts, sum_over_ranks
from cft.training.objective import LossOptions
from tests.contrastive import everything, step
from tests.ranks import on_ranks

ALL = LossOptions(
    false_negative_margin=0.1,
    query_query_negatives=True,
    document_document_negatives=True,
    matryoshka_dims=(2, 4),
)
# sizes of the ranks' shares, hard negatives, mask, whether the sizes are exchanged, options
CASES = [
    ([4, 4], 1, True, False),
    ([4, 4], 1, False, True),
    ([5, 2], 1, True, True),
    ([1, 6], 3, True, False),
    ([3, 3], 0, True, False),
    ([4, 3], 2, True, False, ALL),
    ([2, 5], 1, False, False, ALL),
]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return on_ranks(2, tmp_path_factory.mktemp("steps"), everything, CASES)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_two_ranks_equal_one_process(two_ranks, number):
    sizes, *rest = CASES[number]
    whole = step([sum(sizes)], *rest)
    first, second = (result["steps"][number] for result in two_ranks)
    for name in ("weight", "bias"):
        torch.testing.assert_close(first[name], whole[name], atol=1e-6, rtol=1e-5)
        assert torch.equal(first[name], second[name])
    torch.testing.assert_close((first["loss"] + second["loss"]) / 2, whole["loss"])
    assert torch.equal(first["sums"], whole["sums"])


def test_masks_reach_across_ranks():
    """Masking changes these very batches, so that the equality above says something about it."""
    for sizes, ways, *_ in CASES:
        assert step([sum(sizes)], ways, True, False)["sums"][1] > 0
        assert step([sum(sizes)], ways, False, False)["sums"][1] == 0
        closer = step([sum(sizes)], ways, True, False, ALL)["sums"][1]
        assert closer > step([sum(sizes)], ways, True, False)["sums"][1]


def test_uneven_rows_and_their_gradients(two_ranks):
    expected = torch.tensor([[0.0, 1], [100, 101], [102, 103]])
    for me, result in enumerate(one["primitives"] for one in two_ranks):
        assert result["counts"].tolist() == [1, 2]
        assert torch.equal(result["gathered"], expected)
        assert result["ids"].tolist() == [0, 10, 11]
        assert torch.equal(result["gradient"], torch.full((me + 1, 2), 3.0))


def test_one_process_needs_no_group():
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_with_grad(rows, [3]) is rows
    assert torch.equal(gather_rows(rows, [3]), rows)
    assert row_counts(3) == [3]
    assert torch.equal(sum_over_ranks(rows), rows)
