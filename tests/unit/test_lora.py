"""Adapters: float32, seeded, all move; files that do not fit are refused in one line."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from cft.errors import CftError
from cft.model import attention
from cft.model.embedder import Embedder
from cft.model.lora import attach_lora, load_adapter, save_adapter
from cft.model.packing import pack
from cft.recipe import LoraRecipe
from tests.tiny import contract, random_sequences, tiny_model

RECIPE = LoraRecipe(r=4, alpha=8, dropout=0.0, target_modules=["q_proj", "v_proj", "down_proj"])


def wrapped(recipe=RECIPE, seed=7, dtype=torch.float32):
    return attach_lora(tiny_model("llama", attention.NAME).to(dtype), recipe, seed)


def trained(model):
    """The model with B away from zero, so that the adapter matters."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    return model


def adapter_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if "lora_" in name}


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "adapter"
    save_adapter(trained(wrapped()), folder, contract())
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_exactly_the_adapter_is_trainable_and_float32(dtype):
    model = wrapped(dtype=dtype)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert trainable.keys() == adapter_of(model).keys()
    assert len(trainable) == 2 * 3 * 2  # A and B, three targets, two layers
    assert {p.dtype for p in trainable.values()} == {torch.float32}


def test_initial_values_depend_on_the_seed_only():
    first = adapter_of(wrapped())
    torch.manual_seed(99)
    again, other = adapter_of(wrapped()), adapter_of(wrapped(seed=8))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert all(not value.any() for name, value in first.items() if "lora_B" in name)
    gaussian = torch.cat([v.flatten() for name, v in first.items() if "lora_A" in name])
    assert gaussian.std() == pytest.approx(1 / RECIPE.r, rel=0.1)


def test_seeding_leaves_the_callers_generator_alone():
    model = tiny_model("llama", attention.NAME)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    attach_lora(model, RECIPE, 7)
    assert torch.equal(torch.rand(3), expected)


def test_almost_every_entry_moves_in_ten_steps_even_over_a_bf16_backbone():
    model = wrapped(dtype=torch.bfloat16)
    embedder = Embedder(model, contract()).train()
    start = adapter_of(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-5)
    packed = pack(random_sequences(8))
    weight = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    for _ in range(10):
        (embedder(packed) * weight).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = [(value != start[name]).float().mean() for name, value in adapter_of(model).items()]
    assert min(moved) > 0.99


def test_activation_checkpointing_changes_no_gradient(monkeypatch):
    calls = []
    bucketed = attention._bucketed
    monkeypatch.setattr(
        attention, "_bucketed", lambda *parts: (calls.append(1), bucketed(*parts))[1]
    )

    def gradients(checkpointed):
        backbone = tiny_model("llama", attention.NAME)
        if checkpointed:
            backbone.activation_checkpointing_enable({"use_reentrant": False})
        model = trained(attach_lora(backbone, RECIPE.model_copy(update={"dropout": 0.3}), 7))
        calls.clear()
        torch.manual_seed(3)
        vectors_UD = Embedder(model, contract())(pack(random_sequences(6)))
        (vectors_UD * torch.arange(32.0)).sum().backward()
        return len(calls), [p.grad for p in model.parameters() if p.requires_grad]

    (direct_calls, direct), (again_calls, again) = gradients(False), gradients(True)
    assert (direct_calls, again_calls) == (2, 4)  # two layers, computed once more on the way back
    assert all(torch.equal(one, other) for one, other in zip(direct, again, strict=True))


def test_unknown_target_lists_the_linear_layers():
    with pytest.raises(CftError, match=r"'query' matches no linear layer; .*down_proj.*q_proj"):
        wrapped(RECIPE.model_copy(update={"target_modules": ["q_proj", "query"]}))


def test_saved_and_loaded_gives_the_same_vectors(saved):
    packed = pack(random_sequences(5))
    before = Embedder(trained(wrapped()).eval(), contract())(packed)
    model = load_adapter(tiny_model("llama", attention.NAME), saved)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert torch.equal(Embedder(model, contract())(packed), before)
    base = Embedder(tiny_model("llama", attention.NAME), contract())(packed)
    assert not torch.allclose(before, base, atol=1e-3)
    assert {p.name for p in saved.iterdir()} == {
        "adapter_model.safetensors",
        "adapter_config.json",
        "text_contract.json",
    }


def test_plain_peft_reads_the_folder(saved):
    from peft import PeftModel

    theirs = PeftModel.from_pretrained(tiny_model("llama", attention.NAME), str(saved)).eval()
    packed = pack(random_sequences(5))
    mine = load_adapter(tiny_model("llama", attention.NAME), saved)
    assert torch.equal(Embedder(theirs, contract())(packed), Embedder(mine, contract())(packed))


def test_continued_adapter_keeps_weights_and_takes_the_recipes_dropout(saved):
    asked = RECIPE.model_copy(update={"dropout": 0.3})
    model = load_adapter(tiny_model("llama", attention.NAME), saved, trainable=True, expected=asked)
    assert model.training
    expected = adapter_of(trained(wrapped()))
    assert all(torch.equal(value, expected[name]) for name, value in adapter_of(model).items())
    assert all(p.requires_grad for name, p in model.named_parameters() if "lora_" in name)
    drops = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert drops == {0.3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": 8}, r"model\.lora\.r: 8 is asked for.*has 4"),
        ({"alpha": 16}, r"model\.lora\.alpha: 16"),
        ({"target_modules": ["q_proj"]}, r"model\.lora\.target_modules"),
    ],
)
def test_conflicting_options_are_refused(saved, change, message):
    asked = RECIPE.model_copy(update=change)
    with pytest.raises(CftError, match=message):
        load_adapter(tiny_model("llama", attention.NAME), saved, expected=asked)


def truncate(folder):
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])


def empty(folder):
    (folder / "adapter_model.safetensors").write_bytes(b"")


def lose_a_weight(folder):
    state = load_file(folder / "adapter_model.safetensors")
    state.pop(sorted(state)[0])
    save_file(state, folder / "adapter_model.safetensors")


def add_a_weight(folder):
    state = load_file(folder / "adapter_model.safetensors")
    save_file(
        state | {"base_model.model.stray": torch.ones(1)}, folder / "adapter_model.safetensors"
    )


def misshape_a_weight(folder):
    state = load_file(folder / "adapter_model.safetensors")
    name = sorted(state)[0]
    save_file(state | {name: torch.ones(3, 3)}, folder / "adapter_model.safetensors")


def spoil_config(folder):
    (folder / "adapter_config.json").write_text('{"peft_type": "IA3"}')


def lose_config(folder):
    (folder / "adapter_config.json").unlink()


def lose_weights(folder):
    (folder / "adapter_model.safetensors").unlink()


def lie_about_targets(folder):
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text()) | {"target_modules": ["c_attn"]}
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "damaged"),
        (empty, "damaged"),
        (lose_a_weight, "1 weights are missing, first base_model"),
        (add_a_weight, "1 weights have no place in this backbone, first base_model.model.stray"),
        (misshape_a_weight, r"is \[3, 3\], this backbone needs"),
        (spoil_config, "peft_type is 'IA3' and not LORA"),
        (lose_config, "adapter_config.json: no such file"),
        (lose_weights, "adapter_model.safetensors: no such file"),
        (lie_about_targets, "'c_attn' matches no linear layer"),
    ],
)
def test_damaged_adapters_are_one_line(saved, damage, message):
    damage(saved)
    with pytest.raises(CftError, match=message) as caught:
        load_adapter(tiny_model("llama", attention.NAME), saved)
    assert "\n" not in str(caught.value)


def test_wrong_backbone_shape_is_refused(saved):
    with pytest.raises(CftError, match="this backbone needs"):
        load_adapter(tiny_model("gemma", attention.NAME), saved)


def test_a_failed_save_leaves_nothing(tmp_path):
    model = trained(wrapped())
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "lora_B" in name).fill_(float("nan"))
    with pytest.raises(CftError, match="is not finite"):
        save_adapter(model, tmp_path / "adapter", contract())
    assert list(tmp_path.iterdir()) == []


def test_saved_file_holds_no_pickle(saved):
    for path in saved.iterdir():
        assert path.suffix in {".safetensors", ".json"}
    shutil.rmtree(saved)
