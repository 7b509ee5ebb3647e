"""The trainable embedder: a backbone, perhaps with an adapter, under a text contract."""

from typing import Any

import torch
from torch import nn

from cft.model.attention import NAME, AttentionPlan
from cft.model.last_layer import heed_read_rows
from cft.model.packing import Packed
from cft.model.pooling import pool
from cft.model.text_contract import TextContract


class Embedder(nn.Module):
    """Maps packed texts to unit vectors.

    Args:
        backbone: a model without a language-model head that was loaded by
            :func:`cft.model.backbone.load_backbone`, bare or wrapped by PEFT.
        contract: which attention and which pooling.
    """

    backbone: Any

    def __init__(self, backbone: nn.Module, contract: TextContract) -> None:
        super().__init__()
        self.backbone = backbone
        self.contract = contract
        heed_read_rows(backbone)

    def forward(self, packed: Packed) -> torch.Tensor:
        """Embeddings in the order of the texts, ``float32 [U, D]``, unit norm."""
        if self.backbone.config._attn_implementation != NAME:
            # Another attention would not know the borders, and bidirectional would stay causal.
            raise ValueError(f"the backbone's attention must be {NAME!r}; use load_backbone")
        plan = AttentionPlan.of(
            packed,
            causal=self.contract.attention == "causal",
            read_U=packed.last_U if self.contract.pooling == "last" else None,
        )
        hidden_1TD = self.backbone(
            input_ids=packed.ids_T[None],
            position_ids=packed.positions_T[None],
            # With a cache, transformers would ignore the packing.
            use_cache=False,
            attention_plan=plan,
        ).last_hidden_state
        return pool(hidden_1TD[0], packed, self.contract.pooling)
