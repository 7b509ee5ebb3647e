"""The frozen linear layers of a backbone in float8: half the time of their matrix products.

A LoRA step reads a frozen weight twice, for the output and for the gradient of the input; no weight
has a gradient of its own. So each is rounded once, with a scale for every row of what is multiplied
(Micikevicius et al. 2022, arXiv:2209.05433, with rows in place of tensors), and kept in both
layouts: two bytes a weight, as in bfloat16. Inputs and gradients are rounded row by row as they
come, so a token of extraordinary size costs the others nothing. Sums are float32 in the product.
"""

from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from cft.errors import CftError

KIND = torch.float8_e4m3fn
LARGEST = torch.finfo(KIND).max
TINY = 1e-30  # a row of zeros has a scale as well; gradients may be small indeed
MULTIPLE = 16  # both sides of a weight; the products know no other sizes
CAPABILITY = (8, 9)  # of the first GPUs that multiply float8
# The first layer makes a third of all the noise: rounded as well, the gradient's cosine to that of
# bfloat16 falls from 0.994 to 0.991, or from 0.990 to 0.982 early on.
KEPT = 1


def require_float8() -> torch.device:
    """The GPU of this process.

    Raises:
        CftError: there is none that multiplies float8.
    """
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < CAPABILITY:
        raise CftError(
            "float8: this machine has no GPU that multiplies float8 (compute capability "
            f"{'.'.join(map(str, CAPABILITY))} or higher, as L40S, H100 or H200); "
            "set float8: false"
        )
    return torch.device("cuda", torch.cuda.current_device())


def freeze_in_float8(
    model: nn.Module, device: torch.device | str | None = None, kept: int = KEPT
) -> int:
    """Round the frozen linear layers of the decoder layers; what they held before is dropped.

    Embeddings, norms and the adapter stay what they are, and so do the names of what is saved.

    Args:
        model: a backbone, bare or wrapped by PEFT.
        device: where to round and to keep the weights. By default where they are.
        kept: decoder layers at the beginning that stay what they are.

    Returns:
        The number of layers that were rounded; those of sizes that the products do not know stay.
    """
    done = 0
    layers = [one for one in model.modules() if isinstance(one, GradientCheckpointingLayer)]
    for layer in layers[kept:]:
        for module in layer.modules():
            if type(module) is not nn.Linear or module.weight.requires_grad:
                continue
            if module.in_features % MULTIPLE or module.out_features % MULTIPLE:
                continue
            _round(module, device or module.weight.device)
            done += 1
    return done


def _round(module: nn.Linear, device: torch.device | str) -> None:
    weight_NK = module.weight.detach().to(device)
    module.weight = None  # type: ignore[assignment]
    module.__class__ = Float8Linear
    for name, one in (("forth", weight_NK), ("back", weight_NK.t())):
        rows, scale = rounded(one)
        # Bytes: collectives and copies know them everywhere. Not kept: the backbone's file is.
        module.register_buffer(name, rows.view(torch.uint8), persistent=False)
        module.register_buffer(f"{name}_scale", scale.t().contiguous(), persistent=False)


class Float8Linear(nn.Linear):
    """A frozen linear layer whose weight was rounded by :func:`freeze_in_float8`."""

    forth: torch.Tensor  # uint8 [N, K], the weight
    forth_scale: torch.Tensor  # float32 [1, N]
    back: torch.Tensor  # uint8 [K, N], its transpose
    back_scale: torch.Tensor  # float32 [1, K]

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``[..., K]`` to ``[..., N]``, in the precision of the input."""
        x_TK = input.reshape(-1, self.in_features)
        y_TN = _applied(x_TK, self.forth, self.forth_scale, self.back, self.back_scale)
        if self.bias is not None:
            y_TN = y_TN + self.bias.to(y_TN.dtype)
        return y_TN.view(*input.shape[:-1], self.out_features)


class _Product(torch.autograd.Function):
    """``x W^T`` forward and ``g W`` backward, both in float8."""

    @staticmethod
    def forward(
        ctx: Any, x_TK: torch.Tensor, forth: torch.Tensor, forth_scale: torch.Tensor,
        back: torch.Tensor, back_scale: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        ctx.save_for_backward(back, back_scale)
        return product(x_TK, forth, forth_scale)

    @staticmethod
    def backward(ctx: Any, grad_TN: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        return product(grad_TN, *ctx.saved_tensors), None, None, None, None


# Compilation stumbles over two such functions of one input where it looks into them itself; so it
# takes the call as it is, and what the call does is traced, and fused, one stage later.
@torch.compiler.allow_in_graph
def _applied(*tensors: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = _Product.apply(*tensors)
    return made


def product(x_TK: torch.Tensor, weight_NK: torch.Tensor, scale_1N: torch.Tensor) -> torch.Tensor:
    """``x W^T`` of rows that are rounded here and a rounded weight.

    Args:
        x_TK: bfloat16 on a GPU.
        weight_NK: bytes of :data:`KIND`.
        scale_1N: float32, by which the weight's rows were divided.

    Returns:
        ``[T, N]`` in the precision of ``x_TK``.
    """
    rows_TK, scale_T1 = rounded(x_TK)
    return torch._scaled_mm(
        rows_TK,
        weight_NK.view(KIND).t(),
        scale_a=scale_T1,
        scale_b=scale_1N,
        out_dtype=x_TK.dtype,
        use_fast_accum=True,
    )


def rounded(x_TK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows in float8 and the scales ``float32 [T, 1]`` by which they were divided."""
    scale_T1 = x_TK.abs().amax(1, keepdim=True).float().clamp(min=TINY) / LARGEST
    return (x_TK.float() / scale_T1).to(KIND).contiguous(), scale_T1
