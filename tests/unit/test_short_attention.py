"""The GPU's kernels for short texts against attention of each text alone; interpreted on a CPU."""

import sysconfig
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from cft.model import attention
from cft.model import short_attention as short

# Where there is a GPU they run on it, and multiply with fewer bits than float32 has.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EXACT = {"atol": 5e-6, "rtol": 1e-5} if DEVICE == "cpu" else {"atol": 2e-2, "rtol": 2e-2}
LENGTHS = (1, 5, 32, 33, 64, 70)  # within a tile, filling one, beyond it, of both sizes of tile
WIDTH = 16


def _drawn(heads: int, groups: int, lengths=LENGTHS) -> tuple[list[torch.Tensor], torch.Tensor]:
    torch.manual_seed(0)
    borders = torch.tensor([0, *torch.tensor(lengths).cumsum(0)], dtype=torch.int32)
    # Queries, keys and values lie side by side in one row, as a fused projection leaves them.
    rows_THD = torch.randn(sum(lengths), heads + 2 * groups, WIDTH, device=DEVICE)
    parts = rows_THD.split([heads, groups, groups], dim=1)
    return [part.requires_grad_() for part in map(torch.Tensor.detach, parts)], borders.to(DEVICE)


def _alone(qkv: list[torch.Tensor], borders: torch.Tensor, causal: bool, scale=None):
    """Every text by itself, as torch computes it."""
    shared = qkv[0].shape[1] // qkv[1].shape[1]
    mixed = []
    for first, last in pairwise(borders.tolist()):
        q_HLD, k_GLD, v_GLD = (part[first:last].transpose(0, 1) for part in qkv)
        k_HLD, v_HLD = (part.repeat_interleave(shared, 0) for part in (k_GLD, v_GLD))
        one = scaled_dot_product_attention(q_HLD, k_HLD, v_HLD, is_causal=causal, scale=scale)
        mixed.append(one.transpose(0, 1))
    return torch.cat(mixed)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("heads", "groups"), [(2, 2), (4, 2), (3, 1)], ids=["own keys", "two share", "three share"]
)
def test_outputs_and_gradients_are_those_of_texts_alone(heads, groups, causal) -> None:
    qkv, borders = _drawn(heads, groups)
    found = short.short_attention(*qkv, borders, causal)
    wanted = _alone(qkv, borders, causal)
    torch.testing.assert_close(found, wanted, **EXACT)
    pull = torch.randn_like(found)
    gradients = torch.autograd.grad(found, qkv, pull)
    for one, other in zip(gradients, torch.autograd.grad(wanted, qkv, pull), strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def test_neighbours_in_a_pack_change_not_a_bit() -> None:
    qkv, borders = _drawn(4, 2)
    packed = short.short_attention(*qkv, borders, True)
    for first, last in pairwise(borders.tolist()):
        lone = torch.tensor([0, last - first], dtype=torch.int32, device=DEVICE)
        found = short.short_attention(*(part[first:last] for part in qkv), lone, True)
        assert torch.equal(found, packed[first:last])


def test_a_scale_of_its_own() -> None:
    qkv, borders = _drawn(2, 1, (9,))
    found = short.short_attention(*qkv, borders, False, scale=0.5)
    torch.testing.assert_close(found, _alone(qkv, borders, False, 0.5), **EXACT)


def test_scores_far_from_zero_overflow_nowhere() -> None:
    qkv, borders = _drawn(2, 2, (40,))
    with torch.no_grad():
        qkv[0] *= 1e3
    found = short.short_attention(*qkv, borders, True)
    assert found.isfinite().all()
    if DEVICE == "cpu":
        torch.testing.assert_close(found, _alone(qkv, borders, True), atol=1e-4, rtol=1e-4)
    assert all(one.isfinite().all() for one in torch.autograd.grad(found.sum(), qkv))


def test_torch_finds_nothing_wrong_with_the_operation() -> None:
    """Shapes that compilation is told, what is differentiated, and nothing changed in place."""
    qkv, borders = _drawn(2, 1, (3, 7))
    torch.library.opcheck(short._attend, (*qkv, borders, True, 0.25))


def test_layers_compile_around_it_for_packs_of_any_size() -> None:
    def layer(q_THD, k_TGD, v_TGD, borders):
        return short.short_attention(2 * q_THD, k_TGD, v_TGD, borders, True).square()

    compiled = torch.compile(layer, backend="aot_eager", dynamic=True, fullgraph=True)
    for lengths in ((3, 7), (5, 4, 2)):
        qkv, borders = _drawn(2, 1, lengths)
        found, wanted = compiled(*qkv, borders), layer(*qkv, borders)
        assert torch.equal(found, wanted)
        gradients = torch.autograd.grad(found.sum(), qkv)
        for one, other in zip(gradients, torch.autograd.grad(wanted.sum(), qkv), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("width", "longest", "fitting"), [(64, 256, True), (64, 384, False), (80, 128, False)]
)
def test_other_sizes_are_left_to_the_kernel_for_any(width, longest, fitting) -> None:
    assert short.fits(torch.empty(4, 2, width), longest) is fitting


def test_two_sizes_of_tile_have_as_many_rows() -> None:
    assert short._sizes(16, 8) == {"HEADS": 16, "GROUPS": 8, "SHARED": 2, "STACK": 2, "TILE": 32}
    alone = short._sizes(14, 2)
    assert (alone["STACK"], alone["TILE"]) == (1, short.ROWS)


@pytest.mark.parametrize("missing", ["nothing", "CUDA", "compiler", "headers"])
def test_they_are_left_alone_where_none_could_be_started(missing, monkeypatch, tmp_path) -> None:
    (tmp_path / "gcc").touch(mode=0o755)
    (tmp_path / "Python.h").touch()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(torch.version, "cuda", None if missing == "CUDA" else "13.0")
    monkeypatch.setenv("PATH", "" if missing == "compiler" else str(tmp_path))
    include = tmp_path / "nowhere" if missing == "headers" else tmp_path
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(include))
    found = attention._short_kernels()
    assert found is (short if missing == "nothing" else None)
