"""Work of a real size without its weights or texts: Sarvam-1's shape, lengths of real verses.

Speed depends on shapes and lengths, not on what the weights learned or the words mean.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

MAX_LENGTH = 150
VOCABULARY = 68096
_SPECIALS = ("<unk>", "<s>", "</s>")

# Tokens of Itihasa's train verses at Sarvam-1's fertility (Sanskrit words x 3.9 + 2, English words
# x 1.35 + 2, cut at 150): quantiles at 0, 2.5, … 100%.
# fmt: off
SANSKRIT = (
    5, 25, 25, 29, 29, 29, 33, 33, 33, 33, 33, 37, 37, 37, 37, 37, 37, 41, 41, 41, 41, 41, 41, 41,
    44, 44, 44, 44, 48, 48, 48, 48, 52, 52, 56, 60, 64, 72, 83, 99, 150,
)
ENGLISH = (
    3, 23, 24, 26, 27, 29, 29, 30, 30, 31, 31, 33, 33, 34, 34, 35, 35, 37, 37, 38, 38, 39, 39, 41,
    41, 42, 43, 43, 45, 46, 47, 49, 51, 53, 57, 60, 64, 70, 80, 99, 150,
)
# fmt: on


def sarvam_config() -> LlamaConfig:
    """Sarvam-1's shape: 2.246e9 weights outside the embeddings."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=2048,
        intermediate_size=11008,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=8192,
        rope_theta=10000.0,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )


def save_sarvam(folder: Path, device: str) -> Path:
    """A causal LM of that shape with random weights in bfloat16, 5 GB, and a tokenizer of words."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(sarvam_config())
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Every word ``w0``, ``w1``, … is one token; BOS comes first, as with Sarvam-1."""
    words = [*_SPECIALS, *(f"w{number}" for number in range(VOCABULARY - len(_SPECIALS)))]
    core = Tokenizer(models.WordLevel({one: n for n, one in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens([AddedToken(one, special=True) for one in _SPECIALS])
    core.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<unk>",
        model_max_length=8192,
    )


def verse_lengths(count: int, quantiles: Sequence[int], draw: np.random.Generator) -> np.ndarray:
    """Lengths in tokens that are distributed as the quantiles say, ``int64 [N]``."""
    steps = np.linspace(0, 1, len(quantiles))
    return np.floor(np.interp(draw.random(count), steps, quantiles)).astype(np.int64)


def verse_texts(count: int, seed: int = 0) -> list[str]:
    """Random words, half with the lengths of Sanskrit verses and half of English, shuffled."""
    draw = np.random.default_rng(seed)
    half = count // 2
    lengths = np.concatenate(
        [verse_lengths(half, SANSKRIT, draw), verse_lengths(count - half, ENGLISH, draw)]
    )
    draw.shuffle(lengths)
    highest = VOCABULARY - len(_SPECIALS)
    return [
        " ".join(f"w{number}" for number in draw.integers(highest, size=max(length - 2, 1)))
        for length in lengths.tolist()
    ]
