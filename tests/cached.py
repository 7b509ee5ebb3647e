"""A step of the real model by micro-packs, and the joint graph that it must equal."""

from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from cft.model import attention
from cft.model.embedder import Embedder
from cft.model.lora import attach_lora
from cft.model.packing import Packed
from cft.recipe import LoraRecipe
from cft.training.batches import collate
from cft.training.gather import rank, sum_over_ranks, world_size
from cft.training.gradcache import cached_backward, cut, part
from cft.training.objective import contrastive_loss
from cft.training.temperature import Temperature
from cft.training.trainee import Trainee
from cft.triplets.store import TokenStore
from tests.tiny import contract, tiny_model

LORA = LoraRecipe(r=4, alpha=8, dropout=0.0, target_modules=["q_proj", "v_proj", "up_proj"])


def trainee(dropout: float, checkpointing: bool = False) -> Trainee:
    """A tiny model whose adapter matters, with a learned temperature."""
    backbone = tiny_model("llama", attention.NAME)
    if checkpointing:
        backbone.activation_checkpointing_enable({"use_reentrant": False})
    model = attach_lora(backbone, LORA.model_copy(update={"dropout": dropout}), seed=7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # at zero, A would have no gradient
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    return Trainee(Embedder(model, contract()), Temperature(0.07, learned=True)).train()


def batch_of(folder: str, sizes: list[int]):
    start = sum(sizes[: rank()])
    rows_B = np.arange(start, start + sizes[rank()])
    return collate(TokenStore.open(Path(folder)), rows_B, step=0)


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix("module."): p.grad.clone()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def micro_packs(packed: Packed, size: int | str) -> list[Packed]:
    """``size`` texts each, "all" of them, or at most so many tokens (``"40 tokens"``)."""
    if isinstance(size, str) and size != "all":
        return cut(packed, int(size.split()[0]))
    texts = packed.texts if size == "all" else size
    return [
        part(packed, first, min(first + texts, packed.texts))
        for first in range(0, packed.texts, texts)
    ]


def joint(model: Trainee, batch, micro: list[Packed], sizes: list[int]) -> dict:
    """One graph over all micro-packs; averaged over ranks by hand."""
    torch.manual_seed(100 + rank())
    whole_UD = torch.cat([model(one) for one in micro])
    output = contrastive_loss(whole_UD, batch, model.temperature(), True, sizes)
    output.loss.backward()
    averaged = {n: sum_over_ranks(g) / world_size() for n, g in gradients(model).items()}
    return {"loss": output.loss.detach(), **averaged}


def cached(
    model: Trainee,
    batch,
    micro: list[Packed],
    sizes: list[int],
    over: torch.nn.Module | None = None,
) -> dict:
    """The same by micro-packs; ``over`` is the model as wrapped for data-parallel training."""
    torch.manual_seed(100 + rank())
    output = cached_backward(
        over or model,
        micro,
        lambda whole_UD: contrastive_loss(whole_UD, batch, model.temperature(), True, sizes),
        list(model.temperature.parameters()),
    )
    return {"loss": output.loss, **gradients(model)}


def direct(model: Trainee, batch, sizes: list[int], over: torch.nn.Module) -> dict:
    """One forward, one backward."""
    torch.manual_seed(100 + rank())
    output = contrastive_loss(over(batch.packed), batch, model.temperature(), True, sizes)
    output.loss.backward()
    return {"loss": output.loss.detach(), **gradients(model)}


def cases_on_rank(folder: str, steps: int, cases: list[tuple]) -> list[dict]:
    """For every case (dropout, micro size or None, shares) this rank's last step of several, its
    joint graph, and how many elements went over the ranks in how many exchanges."""
    results = []
    for dropout, size, sizes in cases:
        batch = batch_of(folder, sizes)
        micro = micro_packs(batch.packed, "all" if size is None else size)
        model, exchanges = trainee(dropout), []
        wrapped = DistributedDataParallel(model, broadcast_buffers=False)
        wrapped.register_comm_hook(exchanges, _counted_average)
        for _ in range(steps):
            model.zero_grad()
            if size is None:
                step = direct(model, batch, sizes, wrapped)
            else:
                step = cached(model, batch, micro, sizes, wrapped)
        results.append(
            {
                "step": step,
                "joint": joint(trainee(dropout), batch, micro, sizes),
                "reduced": torch.tensor([sum(exchanges), len(exchanges)]),
                "micro_packs": torch.tensor(len(micro)),
            }
        )
    return results


def _counted_average(exchanges: list[int], bucket):
    exchanges.append(bucket.buffer().numel())
    total = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return total.then(lambda one: one.value()[0] / world_size())


def assert_equal_steps(mine: dict, expected: dict, atol: float = 1e-6, rtol: float = 1e-4) -> None:
    """Loss and every gradient agree, and no gradient is empty."""
    assert mine.keys() == expected.keys()
    assert len(expected) == 1 + 12 + 1  # loss, adapter, temperature
    for name, value in expected.items():
        assert value.any(), name
        torch.testing.assert_close(mine[name], value, atol=atol, rtol=rtol, msg=name)
