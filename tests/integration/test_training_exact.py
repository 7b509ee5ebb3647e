"""One step of the real model on W ranks is the step of one process on the whole batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from cft.model import attention
from cft.model.embedder import Embedder
from cft.model.lora import attach_lora
from cft.recipe import LoraRecipe
from cft.training.batches import collate
from cft.training.gather import rank
from cft.training.objective import contrastive_loss
from cft.triplets.store import TokenStore
from tests.ranks import on_ranks
from tests.tiny import contract, tiny_model, tiny_store

pytestmark = pytest.mark.integration

LORA = LoraRecipe(r=4, alpha=8, dropout=0.0, target_modules=["q_proj", "v_proj", "up_proj"])
CASES = {
    "even": [[12], [6, 6], [3, 3, 3, 3]],
    "uneven": [[11], [8, 3], [1, 5, 3, 2]],
}


def step(folder: str, sizes: list[int]) -> dict[str, torch.Tensor]:
    """Loss and adapter gradients of this rank's share; DDP where there is a group."""
    model = attach_lora(tiny_model("llama", attention.NAME), LORA, seed=7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # at zero, A would have no gradient
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    embedder: torch.nn.Module = Embedder(model, contract()).train()
    if dist.is_initialized():
        embedder = DistributedDataParallel(embedder, broadcast_buffers=False)
    start = sum(sizes[: rank()])
    rows_B = np.arange(start, start + sizes[rank()])
    batch = collate(TokenStore.open(Path(folder)), rows_B, step=0)
    output = contrastive_loss(embedder(batch.packed), batch, 0.05, True, sizes)
    output.loss.backward()
    gradients = {
        name.removeprefix("module."): p.grad
        for name, p in embedder.named_parameters()
        if p.requires_grad
    }
    return {"loss": output.loss.detach(), **gradients}


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("case", sorted(CASES))
def test_ranks_equal_one_process(tmp_path, case, world):
    tiny_store(tmp_path / "store", rows=12, texts=20)
    whole_sizes, *others = CASES[case]
    sizes = next(one for one in others if len(one) == world)
    whole = step(str(tmp_path / "store"), whole_sizes)
    parts = on_ranks(len(sizes), tmp_path / "ranks", step, str(tmp_path / "store"), sizes)
    losses = torch.stack([part.pop("loss") for part in parts])
    torch.testing.assert_close(losses.mean(), whole.pop("loss"), atol=1e-5, rtol=1e-5)
    assert len(whole) == 12
    for name, expected in whole.items():
        assert expected.any(), name
        for part in parts:
            torch.testing.assert_close(part[name], expected, atol=1e-5, rtol=1e-4, msg=name)
