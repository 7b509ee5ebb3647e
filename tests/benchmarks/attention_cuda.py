"""Attention of packed verses on a GPU: our kernels for short texts, and torch's for any length.

Heads as Sarvam-1 has them, texts of the lengths of Itihasa's verses, forward and backward apart;
and how far the bfloat16 results of both are from attention in float32.

Needs a CUDA GPU; elsewhere it says so and ends.
"""

import statistics
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from cft.model.attention import _BLOCK, AttentionPlan, _variable_length
from tests.benchmarks.shapes import ENGLISH, SANSKRIT, verse_lengths

HEADS, GROUPS, WIDTH = 16, 8, 128
ROUNDS, CHECKED = 20, 24


def main(backbone: Path | None, rows: int = 320) -> None:
    """Print milliseconds of each way, their ratio and their errors.

    Args:
        backbone: not read.
        rows: triplets of one pack.
    """
    if not torch.cuda.is_available():
        print("not run: no CUDA GPU here")
        return
    draw = np.random.default_rng(0)
    lengths = np.concatenate(
        [verse_lengths(rows, one, draw) for one in (SANSKRIT, ENGLISH, ENGLISH)]
    )
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}; {len(lengths)} texts, "
        f"{lengths.sum():,} tokens, the longest {lengths.max()}"
    )
    for causal in (True, False):
        took = {name: timed(way, lengths, causal) for name, way in ways().items()}
        ours, peer = took["short texts"], took["any length"]
        for name, (forward, backward) in took.items():
            print(
                f"{'causal' if causal else 'both ways'}, {name}: forward {forward:.3f} ms, "
                f"backward {backward:.3f} ms"
            )
        print(
            f"ours is faster by {peer[0] / ours[0]:.2f} x forward, "
            f"{peer[1] / ours[1]:.2f} x backward"
        )
        for name, way in ways().items():
            errors = ", ".join(f"{one:.2e}" for one in difference(way, lengths[:CHECKED], causal))
            print(f"  {name}: relative error of outputs, gradients of q, k, v: {errors}")


Way = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, AttentionPlan], torch.Tensor]


def ways() -> dict[str, Way]:
    """Both ways, called alike."""
    from cft.model.short_attention import short_attention

    return {
        "any length": lambda q, k, v, plan: _variable_length(q, k, v, plan, None),
        "short texts": lambda q, k, v, plan: short_attention(q, k, v, plan.borders, plan.causal),
    }


def plan_of(borders: torch.Tensor, lengths: np.ndarray, causal: bool) -> AttentionPlan:
    """What a training step would hand to the layers."""
    longest = -(-int(lengths.max()) // _BLOCK) * _BLOCK
    return AttentionPlan(None, causal, borders, longest, None)  # type: ignore[arg-type]


def drawn(lengths: np.ndarray) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Random queries, keys, values and gradients in bfloat16, and the borders of the texts."""
    torch.manual_seed(0)
    borders = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device="cuda")
    tokens = int(lengths.sum())
    shapes = [(tokens, heads, WIDTH) for heads in (HEADS, GROUPS, GROUPS, HEADS)]
    return [torch.randn(one, device="cuda", dtype=torch.bfloat16) for one in shapes], borders


def timed(way: Way, lengths: np.ndarray, causal: bool) -> tuple[float, float]:
    """Milliseconds forward and backward: medians, after a first round that compiles."""
    (*qkv, grad_THD), borders = drawn(lengths)
    qkv = [one.requires_grad_() for one in qkv]
    plan = plan_of(borders, lengths, causal)
    forward, backward = [], []
    for _ in range(ROUNDS):
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(3)]
        torch.cuda._sleep(2_000_000)  # the host is ahead, so that only the GPU is timed
        marks[0].record()
        mixed_THD = way(*qkv, plan)
        marks[1].record()
        torch.autograd.grad(mixed_THD, qkv, grad_THD)
        marks[2].record()
        torch.cuda.synchronize()
        forward.append(marks[0].elapsed_time(marks[1]))
        backward.append(marks[1].elapsed_time(marks[2]))
    return statistics.median(forward[1:]), statistics.median(backward[1:])


def difference(way: Way, lengths: np.ndarray, causal: bool) -> list[float]:
    """Norm of the difference to float32's attention over the norm of the latter."""
    (*qkv, grad_THD), borders = drawn(lengths)
    qkv = [one.requires_grad_() for one in qkv]
    plan = plan_of(borders, lengths, causal)
    found = way(*qkv, plan)
    found_all = [found, *torch.autograd.grad(found, qkv, grad_THD)]
    exact = [one.detach().float().requires_grad_() for one in qkv]
    wanted = torch.cat([alone(exact, first, last, causal) for first, last in spans(borders)])
    wanted_all = [wanted, *torch.autograd.grad(wanted, exact, grad_THD.float())]
    pairs = zip(found_all, wanted_all, strict=True)
    return [float(((one.float() - other).norm() / other.norm()).detach()) for one, other in pairs]


def spans(borders: torch.Tensor) -> list[tuple[int, int]]:
    """First and last position of each text."""
    return list(pairwise(borders.tolist()))


def alone(qkv: list[torch.Tensor], first: int, last: int, causal: bool) -> torch.Tensor:
    """Attention of one text by itself, ``[L, H, D]``."""
    q_HLD, k_GLD, v_GLD = (one[first:last].transpose(0, 1) for one in qkv)
    k_HLD, v_HLD = (one.repeat_interleave(HEADS // GROUPS, 0) for one in (k_GLD, v_GLD))
    mixed_HLD = scaled_dot_product_attention(q_HLD, k_HLD, v_HLD, is_causal=causal)
    return mixed_HLD.transpose(0, 1)
