"""Attention of packed short texts on a GPU, in small tiles.

Kernels for texts of any length work in tiles of 128 rows: on verses of 45 tokens two thirds of a
tile are empty. Here one program takes one text and one or two neighbouring heads of queries that
read the same keys (backward: all heads that do), so a text that fits one tile is read once, written
once, and no sum runs over programs: the same bits every time. The softmax runs along tiles, and
its sums are kept for backward, as in Dao et al. 2022 (arXiv:2205.14135).

Texts of many tiles are correct and slow, as one program goes through them alone; :func:`fits` says
where this is the better way.
"""

from typing import Any

import torch

from cft.model.short_kernels import backward, forward

LONGEST = 256  # tokens; beyond, a kernel that cuts a text among programs is faster
WIDTHS = (16, 32, 64, 128)  # of a head
# Of queries in a tile: tokens of one head, or half as many of two heads that stand side by side.
ROWS = 64
SHARES = 2  # programs among which the tiles of a text are dealt, backward
# Prefetching the next tile would only take room: most texts have no next one.
LAUNCH = {"num_warps": 4, "num_stages": 1}


def fits(query: torch.Tensor, longest: int) -> bool:
    """Whether heads and texts are of the sizes that these kernels are made for."""
    return query.shape[-1] in WIDTHS and longest <= LONGEST


def short_attention(
    q_THD: torch.Tensor,
    k_TGD: torch.Tensor,
    v_TGD: torch.Tensor,
    borders: torch.Tensor,
    causal: bool,
    scale: float | None = None,
) -> torch.Tensor:
    """Softmax attention inside each text of a pack, ``[T, H, D]``.

    Args:
        q_THD: half precision. ``k_TGD`` and ``v_TGD`` may have fewer heads, each read by as many
            neighbouring heads of queries.
        borders: int32 ``[U + 1]``, where texts begin and the last one ends.
        causal: whether a token looks back only.
        scale: of the products; by default one over the root of D.
    """
    scale = q_THD.shape[-1] ** -0.5 if scale is None else scale
    mixed_THD: torch.Tensor
    mixed_THD, _ = _attend(q_THD, k_TGD, v_TGD, borders, causal, scale)
    return mixed_THD


@torch.library.custom_op("cft::short_attention", mutates_args=())
def _attend(
    q_THD: torch.Tensor, k_TGD: torch.Tensor, v_TGD: torch.Tensor, borders: torch.Tensor,
    causal: bool, scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Outputs, and the logarithm (base 2) of each row's sum, float32 ``[T, H]``."""
    tokens, heads, width = q_THD.shape
    out_THD = q_THD.new_empty(tokens, heads, width)
    sums_TH = q_THD.new_empty(tokens, heads, dtype=torch.float32)
    q_THD, k_TGD, v_TGD = (_rows(one) for one in (q_THD, k_TGD, v_TGD))
    sizes = _sizes(heads, k_TGD.shape[1])
    forward[((len(borders) - 1) * (heads // sizes["STACK"]),)](
        q_THD, k_TGD, v_TGD, out_THD, sums_TH, borders, scale,
        q_THD.stride(0), q_THD.stride(1), k_TGD.stride(0), k_TGD.stride(1),
        v_TGD.stride(0), v_TGD.stride(1), WIDTH=width, CAUSAL=causal, **sizes, **LAUNCH,
    )  # fmt: skip
    return out_THD, sums_TH


@_attend.register_fake
def _(q_THD: Any, k_TGD: Any, v_TGD: Any, borders: Any, causal: bool, scale: float) -> Any:
    tokens, heads, width = q_THD.shape
    out_THD = q_THD.new_empty(tokens, heads, width)
    return out_THD, q_THD.new_empty(tokens, heads, dtype=torch.float32)


@torch.library.custom_op("cft::short_attention_backward", mutates_args=())
def _attend_back(
    grad_THD: torch.Tensor, q_THD: torch.Tensor, k_TGD: torch.Tensor, v_TGD: torch.Tensor,
    out_THD: torch.Tensor, sums_TH: torch.Tensor, borders: torch.Tensor, causal: bool, scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Gradients of queries, keys and values."""
    (tokens, heads, width), groups = q_THD.shape, k_TGD.shape[1]
    gq_THD = q_THD.new_empty(tokens, heads, width)
    gk_TGD, gv_TGD = (q_THD.new_empty(tokens, groups, width) for _ in range(2))
    grad_THD, q_THD, k_TGD, v_TGD = (_rows(one) for one in (grad_THD, q_THD, k_TGD, v_TGD))
    backward[((len(borders) - 1) * groups * SHARES,)](
        grad_THD, q_THD, k_TGD, v_TGD, out_THD, sums_TH, borders, gq_THD, gk_TGD, gv_TGD, scale,
        grad_THD.stride(0), grad_THD.stride(1), q_THD.stride(0), q_THD.stride(1),
        k_TGD.stride(0), k_TGD.stride(1), v_TGD.stride(0), v_TGD.stride(1),
        WIDTH=width, SHARES=SHARES, CAUSAL=causal, **_sizes(heads, groups), **LAUNCH,
    )  # fmt: skip
    return gq_THD, gk_TGD, gv_TGD


@_attend_back.register_fake
def _(
    grad_THD: Any, q_THD: Any, k_TGD: Any, v_TGD: Any, out_THD: Any, sums_TH: Any, borders: Any,
    causal: bool, scale: float,
) -> Any:  # fmt: skip
    (tokens, heads, width), groups = q_THD.shape, k_TGD.shape[1]
    gk_TGD, gv_TGD = (q_THD.new_empty(tokens, groups, width) for _ in range(2))
    return q_THD.new_empty(tokens, heads, width), gk_TGD, gv_TGD


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    *tensors, ctx.causal, ctx.scale = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.mark_non_differentiable(output[1])


def _differentiate(ctx: Any, grad_THD: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
    q_THD, k_TGD, v_TGD, borders, out_THD, sums_TH = ctx.saved_tensors
    given = (q_THD, k_TGD, v_TGD, out_THD, sums_TH, borders, ctx.causal, ctx.scale)
    return (*_attend_back(grad_THD, *given), None, None, None)


_attend.register_autograd(_differentiate, setup_context=_keep)


def _sizes(heads: int, groups: int) -> dict[str, int]:
    """What a kernel is compiled for; ``STACK`` heads of queries stand in one tile."""
    shared = heads // groups
    stack = 2 if shared % 2 == 0 else 1
    sizes = {"HEADS": heads, "GROUPS": groups, "SHARED": shared}
    return {**sizes, "STACK": stack, "TILE": ROWS // stack}


def _rows(x_THD: torch.Tensor) -> torch.Tensor:
    """Numbers of one head side by side, which is all that the kernels ask for."""
    return x_THD if x_THD.stride(-1) == 1 else x_THD.contiguous()
