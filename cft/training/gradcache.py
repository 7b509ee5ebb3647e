"""Batches beyond memory: exact gradients from micro-packs (Gao et al. 2021, arXiv:2101.06983).

The loss needs the embeddings of the whole batch at once, the model does not. So:

1. Every micro-pack goes forward without a graph; its random state is kept.
2. The loss of all embeddings, as leaves, gives their gradients and those of its own parameters.
3. Every micro-pack goes forward again, with its random state, and backward from its gradients.

The sum over micro-packs is the gradient of the one joint graph, dropout included. The price is one
more forward. Under data-parallel training the gradients are summed over ranks once, in the last
backward of each rank, however many micro-packs each has.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cft.model.packing import Packed
from cft.training.loss import LossOutput


def cut(packed: Packed, tokens: int) -> list[Packed]:
    """Micro-packs of at most ``tokens`` tokens, in order; a longer text stands alone."""
    return [part(packed, first, end) for first, end in cuts(packed.lengths, tokens)]


def cuts(lengths_U: np.ndarray, tokens: int) -> list[tuple[int, int]]:
    """First text and end of every micro-pack, filled up in the order of the texts."""
    bounds: list[tuple[int, int]] = []
    first, used = 0, 0
    for place, length in enumerate(lengths_U.tolist()):
        if place > first and used + length > tokens:
            bounds.append((first, place))
            first, used = place, 0
        used += length
    return [*bounds, (first, len(lengths_U))]


def part(packed: Packed, first: int, end: int) -> Packed:
    """Texts ``first`` to ``end`` of a pack, a view as far as possible; no device waits."""
    start = int(packed.lengths[:first].sum())
    stop = start + int(packed.lengths[first:end].sum())
    return Packed(
        ids_T=packed.ids_T[start:stop],
        positions_T=packed.positions_T[start:stop],
        borders=packed.borders[first : end + 1] - start,
        last_U=packed.last_U[first:end] - start,
        lengths=packed.lengths[first:end],
    )


def cached_backward(
    model: nn.Module,
    micro_packs: Sequence[Packed],
    loss_of: Callable[[torch.Tensor], LossOutput],
    parameters: Sequence[nn.Parameter] = (),
) -> LossOutput:
    """Add the gradients of the loss of all micro-packs to the parameters.

    Args:
        model: gives the embeddings ``[U, D]`` of a pack; may be wrapped for data-parallel training.
        micro_packs: the local batch, cut; at least one on every rank.
        loss_of: the loss of the embeddings of all micro-packs in order; collectives are welcome.
        parameters: of the loss itself, like a learned temperature; part of ``model``.

    Returns:
        The output of ``loss_of``, without a graph.
    """
    device = micro_packs[0].ids_T.device
    states, embeddings = [], []
    with torch.no_grad():
        for micro in micro_packs:
            states.append(_RandomState.now(device))
            embeddings.append(model(micro))
    whole_UD = torch.cat(embeddings).requires_grad_()
    output = loss_of(whole_UD)
    # Not backward(): the wrapper would count the loss's own parameters before it expects any.
    gradient_UD, *others = torch.autograd.grad(output.loss, [whole_UD, *parameters])
    cached = gradient_UD.split([micro.texts for micro in micro_packs])
    for place, (micro, state, gradient) in enumerate(
        zip(micro_packs, states, cached, strict=True), start=1
    ):
        state.restore(device)
        last = place == len(micro_packs)
        with contextlib.nullcontext() if last else _local_gradients(model):
            embedding_UD = model(micro)
            if last:
                torch.autograd.backward([embedding_UD, *parameters], [gradient, *others])
            else:
                torch.autograd.backward([embedding_UD], [gradient])
    return LossOutput(output.loss.detach(), output.negatives, output.masked)


def _local_gradients(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Gradients stay on their rank for now."""
    if isinstance(model, DistributedDataParallel):
        return model.no_sync()
    return contextlib.nullcontext()


@dataclass(frozen=True)
class _RandomState:
    """The generators that dropout draws from."""

    host: torch.Tensor
    device: torch.Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> "_RandomState":
        if device.type == "cpu":
            return cls(torch.get_rng_state(), None)
        return cls(torch.get_rng_state(), torch.get_device_module(device).get_rng_state())

    def restore(self, device: torch.device) -> None:
        torch.set_rng_state(self.host)
        if self.device is not None:
            torch.get_device_module(device).set_rng_state(self.device)
