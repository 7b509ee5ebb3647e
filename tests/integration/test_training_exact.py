"""One step of the real model on W ranks is the step of one process on the whole batch."""

import pytest
import torch

from tests.cached import assert_equal_steps, batch_of, cases_on_rank, joint, trainee
from tests.ranks import on_ranks
from tests.tiny import tiny_store

pytestmark = pytest.mark.integration

# Triplets of every rank.
SHARES = {2: [[6, 6], [8, 3], [1, 9]], 4: [[3, 3, 3, 3], [1, 5, 3, 2], [2, 2, 2, 1]]}
# Dropout and how the ranks cut their packs; None: direct steps.
WAYS = [(0.0, None), (0.0, 1), (0.0, "40 tokens"), (0.3, 3), (0.3, "all"), (0.3, None)]
STEPS = 3


@pytest.mark.parametrize("world", sorted(SHARES))
def test_ranks_equal_one_process(tmp_path, world):
    """Direct and by micro-packs, for even and uneven shares."""
    store = str(tmp_path / "store")
    tiny_store(tmp_path / "store", rows=12, texts=20)
    cases = [(dropout, size, sizes) for sizes in SHARES[world] for dropout, size in WAYS]
    ranks = on_ranks(world, tmp_path / "ranks", cases_on_rank, store, STEPS, cases)
    trainable = sum(p.numel() for p in trainee(0.0).parameters() if p.requires_grad)
    uneven_cuts = 0
    for case, *results in zip(cases, *ranks, strict=True):
        dropout, _, sizes = case
        batch = batch_of(store, [sum(sizes)])
        whole = joint(trainee(0.0), batch, [batch.packed], [sum(sizes)])
        for result in results:
            # One exchange of gradients a step, however many micro-packs this rank had.
            assert result["reduced"].tolist() == [STEPS * trainable, STEPS], case
            # The joint graph of the same micro-packs, with the same dropout, on the same ranks.
            assert_equal_steps(result["step"], result["joint"])
            if dropout == 0:
                assert_equal_steps(
                    {**result["step"], "loss": whole["loss"]}, whole, atol=1e-5, rtol=1e-4
                )
        losses = torch.stack([result["step"]["loss"] for result in results])
        assert torch.allclose(losses.mean(), whole["loss"], atol=1e-5) == (dropout == 0)
        uneven_cuts += len({int(result["micro_packs"]) for result in results}) > 1
    assert uneven_cuts >= 2
