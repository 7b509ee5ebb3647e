"""Decoder layers under ``torch.compile``: the same numbers but for rounding, with fewer kernels.

Layer by layer, not the model as a whole: all layers share one compiled graph, so compilation takes
seconds, and what surrounds the layers (packing, PEFT's wrapper, pooling) stays ordinary code.
"""

from typing import Any

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


def compile_layers(model: nn.Module, **options: Any) -> int:
    """Let every decoder layer of ``model`` run compiled from its next call on.

    Lengths of packs stay symbolic, so that packs of any size share one graph.

    Args:
        model: a backbone, bare or wrapped by PEFT.
        options: of :meth:`torch.nn.Module.compile`.

    Returns:
        The number of layers.

    Raises:
        ValueError: the architecture has no layers that transformers calls so.
    """
    layers = [one for one in model.modules() if isinstance(one, GradientCheckpointingLayer)]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no decoder layers that can be compiled")
    for layer in layers:
        layer.compile(dynamic=True, **options)
    return len(layers)
