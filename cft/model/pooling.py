"""From the hidden states of a pack to one unit vector per text, in float32."""

from typing import Literal

import torch

from cft.model.packing import Packed


def pool(hidden_TD: torch.Tensor, packed: Packed, pooling: Literal["last", "mean"]) -> torch.Tensor:
    """Embeddings of all texts of a pack, ``float32 [U, D]`` with unit norm.

    ``last`` takes the hidden state of the last token, which the text contract makes EOS. ``mean``
    averages the hidden states of the text's tokens, EOS included. Half precision would leave the
    cosines of an anisotropic model a handful of distinct values, hence float32 from here on.
    """
    with torch.autocast(hidden_TD.device.type, enabled=False):
        if pooling == "last":
            pooled_UD = hidden_TD.index_select(0, packed.last_U).float()
        else:
            # A scattered addition would be nondeterministic on CUDA. Unsafe means without a look at
            # the lengths that would make the host wait for the device.
            pooled_UD = torch.segment_reduce(
                hidden_TD.float(), "mean", lengths=packed.lengths_U, axis=0, unsafe=True
            )
        return torch.nn.functional.normalize(pooled_UD, dim=-1)
