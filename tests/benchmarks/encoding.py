"""Encoding: packed, against sentence-transformers, one text at a time, and from the cache."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from cft.model.cache import CachedEncoder
from cft.model.encoder import Encoder
from tests.benchmarks.peers import in_turn, nano, print_table, sentence_transformer, verses

MAX_LENGTH = 150


def main(backbone: Path | None, rows: int = 2000) -> None:
    """Print texts per second of each way on the same model and texts.

    Args:
        backbone: folder of a causal LM. Empty: a nano model.
        rows: texts, half Sanskrit and half English; 0: all of the embedded epic.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = backbone or nano(Path(scratch) / "nano")
        encoder = Encoder.load(folder, device="auto")
        peer = sentence_transformer(folder, MAX_LENGTH, str(encoder.device))
        peer.to(getattr(torch, encoder.precision))  # it would take the precision of the file
        cache = Path(scratch) / "cache"
        cached = CachedEncoder(encoder, cache)
        sanskrit, english = verses()
        half = rows // 2 or len(sanskrit)
        texts = [*sanskrit[:half], *english[:half]]
        few = texts[::20]
        difference = np.abs(encoder.encode(few, progress=False) - peer.encode(few)).max()
        print(f"largest difference to sentence-transformers: {difference:.1e}")
        assert difference < (1e-5 if encoder.precision == "float32" else 0.05), "another model"
        tokens = sum(map(len, encoder.contract.tokenize(encoder.tokenizer, texts)))
        print(f"{len(texts)} texts of {tokens / len(texts):.0f} tokens on average\n")

        def first() -> None:
            shutil.rmtree(cache, ignore_errors=True)
            CachedEncoder(encoder, cache).encode(texts, progress=False)

        ways = {
            "cft": lambda: encoder.encode(texts, progress=False),
            "cft, each vector written to a cache": first,
            # Runs after the way that fills the cache.
            "cft, each vector read from a cache": lambda: cached.encode(texts, progress=False),
            **{
                f"sentence-transformers, batch {size}": lambda size=size: peer.encode(
                    texts, batch_size=size
                )
                for size in (32, 128, 512)
            },
            "one text at a time": lambda: [encoder.encode([one], progress=False) for one in few],
        }
        seconds = in_turn(ways)
        items = dict.fromkeys(seconds, len(texts)) | {"one text at a time": len(few)}
        print_table(seconds, items, "texts", ours="cft")
        print(f"\ncft: {tokens / seconds['cft']:,.0f} real tokens/s")
