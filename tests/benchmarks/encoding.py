"""Encoding: packed, against sentence-transformers and against one text at a time."""

import tempfile
from pathlib import Path

import numpy as np

from cft.model.encoder import Encoder
from tests.benchmarks.peers import in_turn, nano, print_table, sentence_transformer, verses

MAX_LENGTH = 150


def main(backbone: Path | None) -> None:
    """Print texts per second of each way on the same model and texts."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = backbone or nano(Path(scratch) / "nano")
        encoder = Encoder.load(folder, device="auto")
        peer = sentence_transformer(folder, MAX_LENGTH, str(encoder.device))
        sanskrit, english = verses()
        texts = [*sanskrit[:1000], *english[:1000]]
        few = texts[::20]
        if backbone is None:
            difference = np.abs(encoder.encode(few, progress=False) - peer.encode(few)).max()
            print(f"largest difference to sentence-transformers: {difference:.1e}\n")
        seconds = in_turn(
            {
                "cft": lambda: encoder.encode(texts, progress=False),
                "sentence-transformers, batch 32": lambda: peer.encode(texts, batch_size=32),
                "sentence-transformers, batch 128": lambda: peer.encode(texts, batch_size=128),
                "one text at a time": lambda: [
                    encoder.encode([text], progress=False) for text in few
                ],
            }
        )
        items = dict.fromkeys(seconds, len(texts)) | {"one text at a time": len(few)}
        print_table(seconds, items, "texts", ours="cft")
