"""LoRA in the precision of the activations: what PEFT computes, to the bit in float32."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from cft.model import attention
from cft.model.embedder import Embedder
from cft.model.lean_lora import use_lean_lora
from cft.model.lora import attach_lora
from cft.model.packing import pack
from cft.recipe import LoraRecipe, ModelRecipe, Recipe, TrainRecipe
from cft.training.job import build_embedder
from cft.training.spec import TrainSpec
from tests.tiny import contract, random_sequences, save_backbone, tiny_model

RECIPE = LoraRecipe(r=4, alpha=8, dropout=0.2, target_modules=["q_proj", "v_proj", "down_proj"])


def model_of(dtype: torch.dtype, lean: bool):
    model = attach_lora(tiny_model("llama", attention.NAME).to(dtype), RECIPE, 7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # away from zero, so that the adapter matters
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    if lean:
        assert use_lean_lora(model) == 2 * 3
    return model


def step(model) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Vectors and gradients of one step with dropout."""
    torch.manual_seed(3)
    vectors_UD = Embedder(model, contract()).train()(pack(random_sequences(12)))
    (vectors_UD * torch.arange(32.0)).sum().backward()
    return vectors_UD.detach(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def test_in_float32_not_a_bit_differs() -> None:
    vectors, gradients = step(model_of(torch.float32, lean=True))
    expected_vectors, expected = step(model_of(torch.float32, lean=False))
    assert torch.equal(vectors, expected_vectors)
    assert gradients.keys() == expected.keys()
    assert all(torch.equal(gradients[name], expected[name]) for name in expected)


def test_in_bfloat16_the_gradient_points_the_same_way_and_is_float32() -> None:
    vectors, gradients = step(model_of(torch.bfloat16, lean=True))
    expected_vectors, expected = step(model_of(torch.bfloat16, lean=False))
    assert (vectors * expected_vectors).sum(1).min() > 0.999
    assert {one.dtype for one in gradients.values()} == {torch.float32}
    flat, expected_flat = (
        torch.cat([one.flatten() for one in found.values()]) for found in (gradients, expected)
    )
    assert torch.cosine_similarity(flat, expected_flat, dim=0) > 0.999
    assert 0.98 < flat.norm() / expected_flat.norm() < 1.02


def test_almost_every_entry_of_the_masters_moves_over_a_bf16_backbone() -> None:
    model = model_of(torch.bfloat16, lean=True)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    start = {name: one.detach().clone() for name, one in trained.items()}
    optimizer = torch.optim.AdamW(trained.values(), lr=5e-5)
    embedder, packed = Embedder(model, contract()).train(), pack(random_sequences(8))
    weight = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    for _ in range(10):
        (embedder(packed) * weight).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = [(value != start[name]).float().mean() for name, value in trained.items()]
    assert min(moved) > 0.99


def test_a_disabled_adapter_is_not_there() -> None:
    model = model_of(torch.float32, lean=True).eval()
    packed, bare = pack(random_sequences(4)), tiny_model("llama", attention.NAME)
    with torch.inference_mode(), model.disable_adapter():
        vectors = Embedder(model, contract())(packed)
        assert torch.equal(vectors, Embedder(bare, contract())(packed))


def test_what_is_more_than_lora_keeps_pefts_forward() -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"], use_dora=True)
    assert use_lean_lora(get_peft_model(tiny_model("llama", attention.NAME), config)) == 0


@pytest.mark.parametrize("wanted", [False, True])
def test_a_recipe_compiles_the_layers_where_it_says_so(tmp_path: Path, wanted: bool) -> None:
    backbone = str(save_backbone(tmp_path / "backbone"))
    stage = TrainRecipe(compile=wanted)
    model = ModelRecipe(backbone=backbone, max_length=64, lora=RECIPE)
    recipe = Recipe(model=model, stage1=stage)
    embedder = build_embedder(
        TrainSpec(recipe=recipe, stage="stage1", store="-", backbone=backbone)
    )
    layers = embedder.backbone.base_model.model.layers
    assert [one._compiled_call_impl is not None for one in layers] == [wanted] * 2
    assert "_forward" in str(layers[0].self_attn.q_proj.forward), "LoRA is the lean one"
