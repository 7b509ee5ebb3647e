"""Backbones of several families: each loads, packs and trains, or is refused with its reason."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GraniteConfig,
    MistralConfig,
    Qwen3Config,
)

from cft.errors import CftError
from cft.model.attention import AttentionPlan
from cft.model.backbone import load_backbone
from cft.model.encoder import Encoder
from cft.model.identity import backbone_digest
from cft.model.lora import attach_lora
from cft.model.packing import pack
from cft.model.tokenizer import load_tokenizer
from cft.recipe import LoraRecipe
from tests.tiny import CONFIGS, VOCABULARY, byte_tokenizer, random_sequences, save_backbone

SHAPE = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 256, "pad_token_id": 2, "bos_token_id": 1, "eos_token_id": 0,
}  # fmt: skip
FAMILIES = {
    "qwen2": CONFIGS["qwen2"],
    "qwen3": Qwen3Config(**SHAPE),
    "gemma": CONFIGS["gemma"],
    "gemma2": Gemma2Config(**SHAPE, attn_logit_softcapping=None, sliding_window=128),
    "gemma3": Gemma3TextConfig(**SHAPE, sliding_window=128),
    "mistral": MistralConfig(**SHAPE, sliding_window=128),
    "granite": GraniteConfig(**SHAPE),
}


def saved(folder: Path, config) -> Path:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(copy.deepcopy(config)).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def last_states(model, sequences) -> torch.Tensor:
    """Hidden states at EOS of packed texts, ``[N, D]``."""
    packed = pack(sequences, "cpu")
    states_1TD = model(
        input_ids=packed.ids_T[None], position_ids=packed.positions_T[None], use_cache=False,
        attention_plan=AttentionPlan.of(packed, causal=True),
    ).last_hidden_state  # fmt: skip
    ends = np.cumsum([len(one) for one in sequences]) - 1
    return states_1TD[0, torch.from_numpy(ends)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_packs_as_it_computes_alone_and_trains(tmp_path, family):
    folder = saved(tmp_path, FAMILIES[family])
    sequences = random_sequences(5, seed=3)
    model = load_backbone(folder, max_length=64)
    reference = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    with torch.no_grad():
        # The library's own attention, one text at a time, without packing.
        alone = torch.stack([
            reference.get_decoder()(input_ids=torch.from_numpy(one)[None].long())
            .last_hidden_state[0, -1] for one in sequences
        ])  # fmt: skip
        torch.testing.assert_close(last_states(model, sequences), alone, atol=1e-5, rtol=1e-4)
    wrapped = attach_lora(model, LoraRecipe(r=4, dropout=0.0), seed=1)
    trained = [one for one in wrapped.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-2)
    losses = []
    for _ in range(2):
        vectors = nn.functional.normalize(last_states(wrapped, sequences), dim=-1)
        loss = (vectors @ vectors.T).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (Gemma2Config(**SHAPE), "attn_logit_softcapping is not supported"),
        (MistralConfig(**SHAPE, sliding_window=32), "sliding window of 32 tokens is shorter"),
        (Gemma3TextConfig(**SHAPE, sliding_window=32), "sliding window of 32 tokens is shorter"),
    ],
)
def test_what_cannot_be_packed_is_refused(tmp_path, config, says):
    folder = saved(tmp_path, config)
    with pytest.raises(CftError, match=says):
        load_backbone(folder, max_length=64)


MINICPM = {
    "architectures": ["MiniCPMForCausalLM"], "model_type": "minicpm",
    "auto_map": {"AutoModel": "modeling_minicpm.MiniCPMModel"},
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 4, "hidden_act": "silu",
    "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "scale_emb": 12, "scale_depth": 1.4,
    "dim_model_base": 8, "bos_token_id": 1, "eos_token_id": 0,
}  # fmt: skip


class MiniCPM:
    """MiniCPM as its paper states it, for one text, in nothing but matrix products."""

    def __init__(self, weights: dict[str, torch.Tensor], config: dict) -> None:
        self.weights, self.config = weights, config

    def norm(self, x_TD: torch.Tensor, name: str) -> torch.Tensor:
        scale = x_TD.pow(2).mean(-1, keepdim=True).add(self.config["rms_norm_eps"]).rsqrt()
        return x_TD * scale * self.weights[name]

    def rotated(self, x_THd: torch.Tensor) -> torch.Tensor:
        half = x_THd.shape[-1] // 2
        rates = 10000.0 ** (-torch.arange(half) / half)
        angle_T1h = (torch.arange(len(x_THd))[:, None] * rates)[:, None]
        one, other = x_THd[..., :half], x_THd[..., half:]
        cos, sin = angle_T1h.cos(), angle_T1h.sin()
        return torch.cat([one * cos - other * sin, other * cos + one * sin], -1)

    def __call__(self, ids_T: torch.Tensor) -> torch.Tensor:
        w, heads = self.weights, self.config["num_attention_heads"]
        branch = self.config["scale_depth"] / self.config["num_hidden_layers"] ** 0.5
        x_TD = w["model.embed_tokens.weight"][ids_T] * self.config["scale_emb"]
        later = torch.ones(len(ids_T), len(ids_T)).triu(1).bool()
        for layer in range(self.config["num_hidden_layers"]):
            p = f"model.layers.{layer}."
            h_TD = self.norm(x_TD, p + "input_layernorm.weight")
            q, k, v = (
                (h_TD @ w[f"{p}self_attn.{n}_proj.weight"].T).view(len(ids_T), heads, -1)
                for n in "qkv"
            )
            q, k = self.rotated(q), self.rotated(k)
            score_HTT = torch.einsum("thd,shd->hts", q, k) / q.shape[-1] ** 0.5
            mass_HTT = score_HTT.masked_fill(later, -torch.inf).softmax(-1)
            h_TD = torch.einsum("hts,shd->thd", mass_HTT, v).reshape(len(ids_T), -1)
            x_TD = x_TD + h_TD @ w[p + "self_attn.o_proj.weight"].T * branch
            h_TD = self.norm(x_TD, p + "post_attention_layernorm.weight")
            gate = nn.functional.silu(h_TD @ w[p + "mlp.gate_proj.weight"].T)
            h_TD = gate * (h_TD @ w[p + "mlp.up_proj.weight"].T)
            x_TD = x_TD + h_TD @ w[p + "mlp.down_proj.weight"].T * branch
        return self.norm(x_TD, "model.norm.weight")


def minicpm(folder: Path, **changes) -> dict[str, torch.Tensor]:
    """Write a random MiniCPM and return its weights."""
    from safetensors.torch import save_file

    size, inner, vocabulary = 32, 48, VOCABULARY
    shapes = {"model.embed_tokens.weight": (vocabulary, size), "model.norm.weight": (size,)}
    for layer in range(3):
        p = f"model.layers.{layer}."
        shapes |= {f"{p}self_attn.{n}_proj.weight": (size, size) for n in "qkvo"}
        shapes |= {f"{p}mlp.{n}_proj.weight": (inner, size) for n in ("gate", "up")}
        shapes |= {f"{p}mlp.down_proj.weight": (size, inner)}
        shapes |= {f"{p}{n}_layernorm.weight": (size,) for n in ("input", "post_attention")}
    torch.manual_seed(5)
    weights = {
        name: torch.randn(shape) * 0.2 if len(shape) > 1 else 1 + 0.1 * torch.randn(shape)
        for name, shape in shapes.items()
    }
    byte_tokenizer().save_pretrained(folder)
    head = torch.randn(vocabulary, size)
    save_file(weights | {"lm_head.weight": head}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**MINICPM, **changes}))
    return weights


def test_minicpm_needs_no_code_of_its_own(tmp_path):
    reference = MiniCPM(minicpm(tmp_path), MINICPM)
    model = load_backbone(tmp_path, max_length=64)
    sequences = random_sequences(4, seed=2)
    expected = torch.stack([reference(torch.from_numpy(one).long())[-1] for one in sequences])
    with torch.no_grad():
        torch.testing.assert_close(last_states(model, sequences), expected, atol=2e-4, rtol=1e-4)
    assert load_tokenizer(tmp_path).eos_token_id == 0
    # The constants matter: with those of a Llama the vectors are others.
    minicpm(tmp_path, scale_emb=1, scale_depth=3**0.5)
    with torch.no_grad():
        other = last_states(load_backbone(tmp_path, max_length=64), sequences)
    assert (other - expected).abs().max() > 0.1


def test_a_minicpm_of_another_kind_is_refused(tmp_path):
    minicpm(tmp_path, num_experts=8)
    with pytest.raises(CftError, match="experts or a rotary scaling"):
        load_backbone(tmp_path)


CODE = """
from transformers import LlamaConfig, LlamaModel

class OwnConfig(LlamaConfig):
    model_type = "its-own"

class OwnModel(LlamaModel):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """A Llama whose architecture is a Python file in its folder."""
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    folder = save_backbone(tmp_path / "own")
    (folder / "own.py").write_text(CODE)
    config = json.loads((folder / "config.json").read_text())
    mapping = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    changes = {"model_type": "its-own", "auto_map": mapping, "architectures": ["OwnModel"]}
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def test_code_in_the_folder_runs_only_when_it_is_trusted(own_code, tmp_path):
    for load in (load_backbone, load_tokenizer, Encoder.load):
        with pytest.raises(CftError, match="--trust-remote-code") as caught:
            load(own_code)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "modules").exists()
    trusted = Encoder.load(own_code, device="cpu", trust_remote_code=True)
    assert type(trusted.embedder.backbone).__name__ == "OwnModel"
    plain = Encoder.load(save_backbone(tmp_path / "plain"), device="cpu")
    texts = ["one", "a second text"]
    np.testing.assert_array_equal(
        trusted.encode(texts, progress=False), plain.encode(texts, progress=False)
    )
    before = backbone_digest(own_code)
    (own_code / "own.py").write_text(CODE + "\n# changed\n")
    assert backbone_digest(own_code) != before
