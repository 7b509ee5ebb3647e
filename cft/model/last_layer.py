"""Last-token pooling reads one position per text, so the last layer's MLP need compute no other.

What an MLP makes of one position enters no other one, and after the last layer nothing mixes
positions any more: leaving the rest out changes no embedding and no gradient.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

if TYPE_CHECKING:
    from cft.model.attention import AttentionPlan

_PROJECTIONS = ("gate_proj", "up_proj", "down_proj")


class _LastLayer:
    """Mixed into the class of a model's last layer: tells its MLP which rows will be read."""

    mlp: Any

    def forward(
        self, *inputs: Any, attention_plan: "AttentionPlan | None" = None, **named: Any
    ) -> Any:
        # Here, where activation checkpointing comes again when it computes the layer anew.
        self.mlp.rows_U = None if attention_plan is None else attention_plan.read_U
        try:
            return super().forward(*inputs, attention_plan=attention_plan, **named)  # type: ignore[misc]
        finally:
            self.mlp.rows_U = None


class _Rows:
    """Mixed into the class of an MLP: computes the rows that are asked for, zero elsewhere."""

    rows_U: torch.Tensor | None = None

    def forward(self, hidden_1TD: torch.Tensor) -> torch.Tensor:
        forward = super().forward  # type: ignore[misc]
        if self.rows_U is None:
            return forward(hidden_1TD)
        made_1UD = forward(hidden_1TD.index_select(1, self.rows_U))
        return torch.zeros_like(hidden_1TD).index_copy(1, self.rows_U, made_1UD)


def heed_read_rows(model: nn.Module) -> bool:
    """Let the last decoder layer of a backbone heed ``AttentionPlan.read_U``, where it can.

    Parameters and their names stay what they are, so weights and adapters fit as before.

    Returns:
        Whether it does now: a layer without a gated MLP (a mixture of experts) stays as it is.
    """
    layers = [one for one in model.modules() if isinstance(one, GradientCheckpointingLayer)]
    mlp = getattr(layers[-1], "mlp", None) if layers else None
    if mlp is None or not all(hasattr(mlp, name) for name in _PROJECTIONS):
        return False
    for module, mixed in ((layers[-1], _LastLayer), (mlp, _Rows)):
        kind = type(module)
        if not issubclass(kind, mixed):
            named = {"__module__": kind.__module__}
            module.__class__ = type(kind.__name__, (mixed, kind), named)
    return True
