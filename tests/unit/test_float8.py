"""Frozen weights in float8: what they compute, what stays, and where they cannot be had."""

from pathlib import Path

import pytest
import torch
from torch import nn

from cft.errors import CftError
from cft.model import attention
from cft.model.compiled import compile_layers
from cft.model.embedder import Embedder
from cft.model.float8 import KIND, LARGEST, Float8Linear, freeze_in_float8, product, rounded
from cft.model.lean_lora import use_lean_lora
from cft.model.lora import attach_lora, load_adapter, save_adapter
from cft.model.packing import pack
from cft.recipe import LoraRecipe, ModelRecipe, Recipe, TrainRecipe
from cft.training.job import build_embedder
from cft.training.spec import TrainSpec
from tests.tiny import contract, random_sequences, save_backbone, tiny_model

RECIPE = LoraRecipe(r=4, alpha=8, dropout=0.0, target_modules=["q_proj", "v_proj", "down_proj"])


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def unrounded(rows: torch.Tensor) -> torch.Tensor:
    """What a tensor is once it was rounded, row by row, in float64."""
    values, scale = rounded(rows)
    return values.double() * scale.double()


def layer(bias: bool = False) -> tuple[nn.Linear, torch.Tensor]:
    """A frozen layer in float8, and the weight it had."""
    module = nn.Linear(48, 64, bias=bias).bfloat16().requires_grad_(False)
    with torch.no_grad():
        module.weight.copy_(drawn(64, 48, seed=1))
    weight = module.weight.detach().clone()
    holder = tiny_model("llama").layers[0]
    holder.mlp.gate_proj = module
    assert freeze_in_float8(holder.requires_grad_(False), kept=0) == 7
    return module, weight


def test_rows_keep_their_largest_value_and_lose_a_sixteenth_at_most() -> None:
    rows = drawn(40, 64) * torch.logspace(-20, 20, 40)[:, None].bfloat16()
    values, scale = rounded(rows)
    assert values.dtype == KIND
    assert torch.equal(values.float().abs().amax(1), torch.full((40,), LARGEST))
    again = values.float() * scale
    heavy = rows.float().abs() > rows.float().abs().amax(1, keepdim=True) / 1000
    assert ((again - rows.float()).abs() / rows.float().abs())[heavy].max() <= 1 / 16 + 1e-3
    zeros, scale = rounded(torch.zeros(2, 16))
    assert not zeros.float().any()
    assert torch.isfinite(scale).all()


def test_a_product_is_that_of_the_rounded_rows() -> None:
    x_TK, weight_NK = drawn(24, 48), drawn(64, 48, seed=1)
    values_NK, scale_N1 = rounded(weight_NK)
    found = product(x_TK, values_NK.view(torch.uint8), scale_N1.t().contiguous())
    expected = unrounded(x_TK) @ unrounded(weight_NK).T
    assert found.dtype == torch.bfloat16
    assert (found.double() - expected).abs().max() <= expected.abs().max() * 2**-7


@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_computes_the_output_and_the_gradient_of_its_input(bias: bool) -> None:
    module, weight_NK = layer(bias)
    assert isinstance(module, Float8Linear)
    x_BTK = drawn(2, 12, 48).requires_grad_()
    y_BTN = module(x_BTK)
    offset = module.bias.double() if bias else 0.0
    expected = unrounded(x_BTK.detach().view(24, 48)) @ unrounded(weight_NK).T + offset
    assert y_BTN.shape == (2, 12, 64)
    assert torch.allclose(y_BTN.double().view(24, 64), expected, atol=expected.abs().max() * 2**-6)
    grad_BTN = drawn(2, 12, 64, seed=2)
    (found,) = torch.autograd.grad(y_BTN, x_BTK, grad_BTN)
    # By columns: the weight was rounded anew for this product, with scales of its own.
    expected = unrounded(grad_BTN.view(24, 64)) @ unrounded(weight_NK.T).T
    assert torch.allclose(found.double().view(24, 48), expected, atol=expected.abs().max() * 2**-6)


def test_one_token_of_extraordinary_size_costs_the_others_nothing() -> None:
    module, _ = layer()
    x_TK = drawn(24, 48)
    alone = module(x_TK)
    x_TK[7] *= 10_000
    beside = module(x_TK)
    others = [row for row in range(24) if row != 7]
    assert torch.equal(alone[others], beside[others])


def test_two_bytes_a_weight_are_kept() -> None:
    module, weight_NK = layer()
    held = sum(one.nbytes for one in module.buffers() if one.dtype == torch.uint8)
    assert held == weight_NK.nbytes
    assert not list(module.parameters())


def model_of(float8: bool, kind: str = "llama"):
    model = attach_lora(tiny_model(kind, attention.NAME).bfloat16(), RECIPE, 7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # away from zero, so that the adapter matters
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)), std=0.1)
    if float8:  # the keys and values of the second kind have one head of eight
        assert freeze_in_float8(model, kept=0) == 2 * {"llama": 7, "qwen2": 5}[kind]
    use_lean_lora(model)
    return model


def step(model, layers: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors and the adapter's whole gradient."""
    vectors_UD = Embedder(model, contract()).train()(pack(random_sequences(24)))
    (vectors_UD * drawn(24, 32, seed=5).float()).sum().backward()
    trained = [one for one in model.parameters() if one.requires_grad]
    assert len(trained) == layers * 3 * 2
    assert {one.grad.dtype for one in trained} == {torch.float32}
    return vectors_UD.detach(), torch.cat([one.grad.flatten() for one in trained])


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_vectors_and_the_adapters_gradient_point_where_they_did(kind: str) -> None:
    vectors, gradient = step(model_of(True, kind))
    expected_vectors, expected = step(model_of(False, kind))
    assert (vectors * expected_vectors).sum(1).min() > 0.99
    assert torch.cosine_similarity(gradient, expected, dim=0) > 0.99
    assert 0.95 < gradient.norm() / expected.norm() < 1.05
    assert not torch.equal(gradient, expected), "something was rounded"


def test_compiled_layers_compute_the_same() -> None:
    model = model_of(True)
    del model.base_model.model.layers[1:]  # each takes half a minute to trace
    eager, expected = step(model, layers=1)
    model.zero_grad()
    compile_layers(model, backend="aot_eager")
    compiled, gradient = step(model, layers=1)
    assert torch.equal(compiled, eager)
    assert torch.allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_one_graph_serves_packs_of_any_size() -> None:
    module, _ = layer(bias=True)
    graphs: list[object] = []

    def counted(graph: torch.fx.GraphModule, _: object) -> object:
        graphs.append(graph)
        return graph

    compiled = torch.compile(module, backend=counted, fullgraph=True, dynamic=True)
    for tokens in (24, 40, 17):
        x_TK = drawn(1, tokens, 48, seed=tokens).requires_grad_()
        assert torch.equal(compiled(x_TK), module(x_TK))
    assert len(graphs) == 1


def test_an_adapter_is_saved_as_ever_and_fits_the_unrounded_backbone(tmp_path: Path) -> None:
    model = model_of(True)
    save_adapter(model, tmp_path / "adapter", contract())
    again = load_adapter(tiny_model("llama", attention.NAME), tmp_path / "adapter")
    own = {n: p for n, p in model.named_parameters() if "lora_" in n}
    other = {n: p for n, p in again.named_parameters() if "lora_" in n}
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)


def test_the_first_decoder_layer_stays() -> None:
    model = tiny_model("llama").requires_grad_(False)
    assert freeze_in_float8(model) == 7
    kinds = [{type(one) for one in layer.modules()} for layer in model.layers]
    assert [Float8Linear in one for one in kinds] == [False, True]


def test_layers_of_other_sizes_and_trained_ones_stay() -> None:
    layer = tiny_model("llama").layers[0].requires_grad_(False)
    layer.mlp.gate_proj = nn.Linear(32, 24).requires_grad_(False)
    layer.mlp.up_proj.requires_grad_(True)
    assert freeze_in_float8(layer, kept=0) == 5
    assert type(layer.mlp.gate_proj) is type(layer.mlp.up_proj) is nn.Linear


def test_a_machine_that_cannot_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    backbone = str(save_backbone(tmp_path / "backbone"))
    recipe = Recipe(
        model=ModelRecipe(backbone=backbone, max_length=64, lora=RECIPE),
        stage1=TrainRecipe(bf16=True, float8=True),
    )
    spec = TrainSpec(recipe=recipe, stage="stage1", store="-", backbone=backbone)
    with pytest.raises(CftError, match=r"no GPU that multiplies float8 .* set float8: false"):
        build_embedder(spec)


def test_it_is_for_bfloat16() -> None:
    with pytest.raises(ValueError, match="float8 needs bf16: true"):
        TrainRecipe(float8=True)
