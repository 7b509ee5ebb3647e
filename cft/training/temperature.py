"""The temperature of the loss: a number, or one more parameter."""

import math

import torch
from torch import nn

LOWEST, HIGHEST = 0.01, 1.0


class Temperature(nn.Module):
    """t in InfoNCE, fixed or learned as in CLIP (Radford et al. 2021, arXiv:2103.00020).

        t = exp(-s),  0 <= s <= log 100

    The log-scale s is learned in float32, without weight decay, and put back into its range after
    every update, so that it can always move again. It belongs to the training: checkpoints hold
    it, the published adapter does not.
    """

    log_scale: nn.Parameter | None

    def __init__(self, initial: float, learned: bool = False) -> None:
        super().__init__()
        self.initial = initial
        start = torch.tensor(-math.log(initial), dtype=torch.float32)
        self.register_parameter("log_scale", nn.Parameter(start) if learned else None)

    def forward(self) -> float | torch.Tensor:
        """The value that divides the cosines; differentiable where it is learned."""
        return self.initial if self.log_scale is None else torch.exp(-self.log_scale)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Put a learned temperature back into its range."""
        if self.log_scale is not None:
            self.log_scale.clamp_(-math.log(HIGHEST), -math.log(LOWEST))
