"""LoRA's matrix products in the precision of the activations, from weights that stay float32.

PEFT turns the whole activation into float32 and multiplies there: on a GPU these small products
then cost as much as large ones in bfloat16. Here the weights are rounded for the product instead;
what the optimiser changes stays float32, and so does the sum inside the product. In float32 nothing
is rounded, and not a bit differs from PEFT.
"""

import types
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import nn
from torch.nn.functional import linear


def use_lean_lora(model: nn.Module) -> int:
    """Swap the forward of every plain LoRA layer of ``model``; others keep PEFT's own.

    Args:
        model: wrapped by PEFT.

    Returns:
        The number of layers that were swapped.
    """
    layers = [one for one in model.modules() if type(one) is Linear and not one.lora_variant]
    for layer in layers:
        # On the object, so that the module's name and its place in the state stay what they were.
        object.__setattr__(layer, "forward", types.MethodType(_forward, layer))
    return len(layers)


def _forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    if self.disable_adapters or self.merged or self.lora_variant or kwargs:
        return Linear.forward(self, x, *args, **kwargs)
    result = self.base_layer(x, *args)
    for name in self.active_adapters:
        if name in self.lora_A:
            down, up = self.lora_A[name].weight, self.lora_B[name].weight
            inner = linear(self.lora_dropout[name](x), down.to(x.dtype))
            result = result + linear(inner, up.to(x.dtype)) * self.scaling[name]
    return result
