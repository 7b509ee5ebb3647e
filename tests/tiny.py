"""Tiny random models, tokenizers and stores that tests of training and encoding share."""

import copy
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModel,
    GemmaConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from cft.model.text_contract import TextContract
from cft.recipe import LoraRecipe, ModelRecipe
from cft.triplets.base import Triplets
from cft.triplets.store import TokenStore, build_store

EOS_ID, BOS_ID, PAD_ID = 0, 1, 2
VOCABULARY = 3 + 256

CONFIGS = {
    "llama": LlamaConfig(num_key_value_heads=2),
    "qwen2": Qwen2Config(num_key_value_heads=1),
    "gemma": GemmaConfig(num_key_value_heads=4, head_dim=16),
}
for config in CONFIGS.values():
    config.vocab_size = VOCABULARY
    config.hidden_size = 32
    config.intermediate_size = 64
    config.num_hidden_layers = 2
    config.num_attention_heads = 4
    config.max_position_embeddings = 256
    config.pad_token_id, config.bos_token_id, config.eos_token_id = PAD_ID, BOS_ID, EOS_ID
    if config.model_type == "qwen2":
        config.layer_types = ["full_attention"] * 2
    config.head_dim = 8 if config.model_type != "gemma" else 16


def byte_tokenizer(eos: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer whose pieces are the 256 bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["</s>", "<s>", "<pad>"]
    core = Tokenizer(
        models.BPE(vocab={p: i for i, p in enumerate([*specials, *alphabet])}, merges=[])
    )
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(one, special=True) for one in specials])
    named = {"eos_token": "</s>"} if eos else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", pad_token="<pad>", **named
    )


def tiny_model(kind: str = "llama", attention: str = "sdpa", seed: int = 0) -> PreTrainedModel:
    """A random model without a head; the same weights whatever the attention."""
    torch.manual_seed(seed)
    config = copy.deepcopy(CONFIGS[kind])  # models write into their configuration
    return AutoModel.from_config(config, attn_implementation=attention).eval()


def save_backbone(folder: Path, eos: bool = True, seed: int = 0) -> Path:
    """A causal LM with its tokenizer, as a user would give it."""
    torch.manual_seed(seed)
    LlamaForCausalLM(CONFIGS["llama"]).save_pretrained(folder)
    byte_tokenizer(eos).save_pretrained(folder)
    return folder


def contract(**changes: object) -> TextContract:
    """The contract of the byte tokenizer."""
    recipe = ModelRecipe(max_length=64, lora=LoraRecipe(dropout=0.0))
    return TextContract.of(recipe, byte_tokenizer()).model_copy(update=changes)


def random_sequences(count: int, seed: int = 0, longest: int = 24) -> list[np.ndarray]:
    """Token sequences of mixed lengths, each closed by EOS."""
    draw = np.random.default_rng(seed)
    return [
        np.append(draw.integers(3, VOCABULARY, draw.integers(0, longest)), EOS_ID).astype(np.int32)
        for _ in range(count)
    ]


def tiny_store(
    folder: Path,
    rows: int = 40,
    texts: int = 30,
    ways: int = 1,
    seed: int = 0,
    terms: TextContract | None = None,
) -> TokenStore:
    """A real store of random triplets over few texts, so that texts repeat within a batch."""
    draw = np.random.default_rng(seed)
    words = ["".join(draw.choice(list("abcdefgh "), n)) for n in draw.integers(1, 30, texts)]
    names = [f"{word} {number}" for number, word in enumerate(words)]
    columns = [draw.permutation(texts)[: 2 + ways] for _ in range(rows)]
    triplets = Triplets(
        anchor=[names[row[0]] for row in columns],
        positive=[names[row[1]] for row in columns],
        negatives=[tuple(names[one] for one in row[2:]) for row in columns],
        kind=["cross_lingual"] * rows,
    )
    build_store(folder, triplets, terms or contract(), byte_tokenizer(), {})
    return TokenStore.open(folder)
