"""What the benchmarks share: texts, a backbone, a sentence-transformers peer, paired timing."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from peft import LoraConfig
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, Transformer
from tokenizers.processors import TemplateProcessing

from cft.corpora.synthetic import epic
from cft.model.nano import make_backbone
from cft.recipe import LoraRecipe, NanoRecipe


def verses() -> tuple[list[str], list[str]]:
    """Sanskrit and English of the embedded epic's training chapters."""
    rows = epic().splits["train"]
    return [row.sanskrit for row in rows], [row.english for row in rows]


def nano(folder: Path) -> Path:
    """The pilot's nano shape, barely trained: speed does not depend on what it learned."""
    sanskrit, english = verses()
    return make_backbone([*sanskrit, *english], NanoRecipe(max_steps=2), folder)


def sentence_transformer(
    backbone: Path, max_length: int, device: str, pooling: str = "last"
) -> SentenceTransformer:
    """The same backbone in sentence-transformers: unit norm, dynamic padding.

    Args:
        backbone: folder of a causal LM.
        max_length: tokens of a text.
        device: where it goes.
        pooling: ``last`` or ``mean``, as in a recipe.
    """
    transformer = Transformer(str(backbone), max_seq_length=max_length)
    tokenizer = transformer.tokenizer
    ids = tokenizer("a")["input_ids"]
    if ids[-1] != tokenizer.eos_token_id:
        specials = [(tokenizer.eos_token, tokenizer.eos_token_id)]
        pieces = ["$A", tokenizer.eos_token]
        if ids[0] == tokenizer.bos_token_id:
            specials.append((tokenizer.bos_token, tokenizer.bos_token_id))
            pieces.insert(0, tokenizer.bos_token)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=" ".join(pieces), special_tokens=specials
        )
    mode = "lasttoken" if pooling == "last" else pooling
    pooled = Pooling(transformer.get_word_embedding_dimension(), pooling_mode=mode)
    return SentenceTransformer(modules=[transformer, pooled, Normalize()], device=device)


def peft_config(recipe: LoraRecipe) -> LoraConfig:
    """The recipe's adapter in PEFT's own words, as its users write them."""
    return LoraConfig(
        r=recipe.r,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.target_modules),
        init_lora_weights="gaussian" if recipe.init == "gaussian" else True,
    )


def in_turn(ways: dict[str, Callable[[], None]], rounds: int = 5) -> dict[str, float]:
    """Median seconds of each way, run A B C A B C …, after one warm-up of each.

    Turns spread a machine's drift over all ways, so the ratios hold where the seconds do not.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def print_table(seconds: dict[str, float], items: dict[str, int], unit: str, ours: str) -> None:
    """One row a way: items per second, and how many times faster ours is."""
    print(f"| way | {unit}/s | ours is faster by |\n|---|---|---|")
    rate = {name: items[name] / seconds[name] for name in seconds}
    for name, value in rate.items():
        print(f"| {name} | {value:,.1f} | {rate[ours] / value:.2f} x |")
