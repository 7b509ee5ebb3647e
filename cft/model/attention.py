"""Attention inside the borders of packed texts, for any transformers backbone.

Registered with transformers under ``cft_packed``; the backbone calls it for every layer and hands
on the plan that the caller of the model gave as ``attention_plan=``. Where kernels read a pack as
it is (CUDA, half precision), ours for short texts do or torch's for any length; elsewhere the texts
are laid out in buckets of similar length, inside attention only.

No mask function is registered: transformers then builds no mask and does not look at the position
ids for borders, a look that would make the host wait for the device in every forward.
"""

import inspect
import os
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from cft.model.packing import Buckets, Packed

NAME = "cft_packed"


# Kernels work in blocks of so many rows: rounding the longest text up to it costs nothing, and
# leaves compiled layers few values to be compiled for.
_BLOCK = 128


@dataclass(frozen=True)
class AttentionPlan:
    """Where the borders are and which way a token looks.

    Plain fields, made outside of the layers: what a compiled layer reads must not be computed on
    first use.
    """

    packed: Packed
    causal: bool
    borders: torch.Tensor  # int32 [U + 1], as in the pack
    longest: int  # at least the length of the longest text
    read_U: torch.Tensor | None  # int64: positions whose last states will be read; None: all

    @classmethod
    def of(
        cls, packed: Packed, causal: bool, read_U: torch.Tensor | None = None
    ) -> "AttentionPlan":
        """The plan of a pack."""
        longest = -(-packed.longest // _BLOCK) * _BLOCK
        return cls(packed, causal, packed.borders, longest, read_U)


class _Pad(torch.autograd.Function):
    """Tokens to padded positions; zero at padding.

    Layout and removal are each other's gradient. As two gathers they are many times faster than
    the scattered addition that autograd would use.
    """

    @staticmethod
    def forward(ctx: Any, x_THD: torch.Tensor, buckets: Buckets) -> torch.Tensor:
        ctx.buckets = buckets
        x_PHD = x_THD.index_select(0, buckets.token_P)
        return x_PHD.index_fill_(0, buckets.padding, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0].index_select(0, ctx.buckets.place_T), None


class _Unpad(torch.autograd.Function):
    """Padded positions back to tokens."""

    @staticmethod
    def forward(ctx: Any, x_PHD: torch.Tensor, buckets: Buckets) -> torch.Tensor:
        ctx.buckets = buckets
        return x_PHD.index_select(0, buckets.place_T)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient_PHD = gradients[0].index_select(0, ctx.buckets.token_P)
        return gradient_PHD.index_fill_(0, ctx.buckets.padding, 0), None


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    attention_plan: AttentionPlan | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one layer in the signature of transformers.

    Args:
        query: ``[1, heads, T, D]``; ``key`` and ``value`` may have fewer heads (GQA).
        attention_plan: the borders; without it the row is one text and attention is causal.

    Returns:
        ``[1, T, heads, D]`` and no weights.
    """
    if kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None:
        raise ValueError("packed attention has neither logit soft-capping nor attention sinks")
    if attention_plan is None:
        raise ValueError("packed attention needs attention_plan=; call the model through Embedder")
    q_THD, k_TGD, v_TGD = (part[0].transpose(0, 1) for part in (query, key, value))
    plan = attention_plan
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        if _SHORT is not None and _SHORT.fits(query, plan.longest):
            mixed_THD = _SHORT.short_attention(
                q_THD, k_TGD, v_TGD, plan.borders, plan.causal, scaling
            )
        else:
            mixed_THD = _variable_length(q_THD, k_TGD, v_TGD, plan, scaling)
    else:
        mixed_THD = _bucketed(q_THD, k_TGD, v_TGD, plan, scaling)
    return mixed_THD.unsqueeze(0), None


def _bucketed(
    q_THD: torch.Tensor,
    k_TGD: torch.Tensor,
    v_TGD: torch.Tensor,
    plan: AttentionPlan,
    scaling: float | None,
) -> torch.Tensor:
    buckets = plan.packed.buckets
    q_PHD, k_PGD, v_PGD = (_Pad.apply(part, buckets) for part in (q_THD, k_TGD, v_TGD))
    groups = q_PHD.shape[1] // k_PGD.shape[1]
    if groups > 1:
        k_PGD, v_PGD = (part.repeat_interleave(groups, dim=1) for part in (k_PGD, v_PGD))
    # One split instead of many slices: the gradient of a slice is as large as the whole.
    sizes = [bucket.size * bucket.length for bucket in buckets.items]
    parts = zip(*(part.split(sizes) for part in (q_PHD, k_PGD, v_PGD)), strict=True)
    mixed = []
    for bucket, qkv in zip(buckets.items, parts, strict=True):
        q_UHLD, k_UHLD, v_UHLD = (
            part.unflatten(0, (bucket.size, bucket.length)).transpose(1, 2) for part in qkv
        )
        # Padding stands on the right: no token of a causal text ever looks at it.
        keep_UL = None if plan.causal else bucket.keep_UL
        mixed_UHLD = scaled_dot_product_attention(
            q_UHLD,
            k_UHLD,
            v_UHLD,
            attn_mask=None if keep_UL is None else keep_UL[:, None, None, :],
            is_causal=plan.causal,
            scale=scaling,
        )
        mixed.append(mixed_UHLD.transpose(1, 2).flatten(0, 1))
    return _Unpad.apply(torch.cat(mixed), buckets)


def _variable_length(
    q_THD: torch.Tensor,
    k_TGD: torch.Tensor,
    v_TGD: torch.Tensor,
    plan: AttentionPlan,
    scaling: float | None,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    options: dict[str, Any] = {"scale": scaling}
    if "window_size" in _VARLEN_OPTIONS:
        options["window_size"] = (-1, 0) if plan.causal else (-1, -1)
    else:
        options["is_causal"] = plan.causal
    groups = q_THD.shape[1] // k_TGD.shape[1]
    if groups > 1:
        if "enable_gqa" in _VARLEN_OPTIONS:
            options["enable_gqa"] = True
        else:
            k_TGD, v_TGD = (part.repeat_interleave(groups, dim=1) for part in (k_TGD, v_TGD))
    mixed_THD = varlen_attn(
        q_THD, k_TGD, v_TGD, plan.borders, plan.borders, plan.longest, plan.longest, **options
    )
    assert isinstance(mixed_THD, torch.Tensor)  # a pair only where auxiliary results are asked for
    return mixed_THD


def _varlen_options() -> frozenset[str]:
    """Keyword arguments of the kernel, whose signature moves between torch versions."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    return frozenset(inspect.signature(varlen_attn).parameters)


def _short_kernels() -> Any:
    """Those for short texts, where torch was built for CUDA and a kernel can be started.

    Triton builds what starts one here and now, in C: a slim image may have no compiler for it.
    """
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    headers = Path(sysconfig.get_path("include", "posix_prefix"), "Python.h")
    if torch.version.cuda is None or not compiler or not headers.is_file():
        return None
    from cft.model import short_attention

    return short_attention


_VARLEN_OPTIONS = _varlen_options()
_SHORT = _short_kernels()

AttentionInterface.register(NAME, packed_attention)
