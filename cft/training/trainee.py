"""What one optimiser trains and one data-parallel wrapper holds: the embedder and the temperature.

The temperature is used in the loss, outside of the wrapper's forward, but its gradient must travel
with those of the adapter.
"""

import torch
from torch import nn

from cft.model.embedder import Embedder
from cft.model.packing import Packed
from cft.training.temperature import Temperature


class Trainee(nn.Module):
    """An :class:`Embedder` in a call, with a :class:`Temperature` at its side."""

    def __init__(self, embedder: Embedder, temperature: Temperature) -> None:
        super().__init__()
        self.embedder = embedder
        self.temperature = temperature

    def forward(self, packed: Packed) -> torch.Tensor:
        """Embeddings of the pack's texts, ``float32 [U, D]``."""
        return self.embedder(packed)
