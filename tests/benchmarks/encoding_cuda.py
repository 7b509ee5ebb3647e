"""Encoding at Sarvam-1's shape in bfloat16: packed, against padded batches and one by one.

Needs a CUDA GPU with about 20 GB of memory; elsewhere it says so and ends.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from cft.model.encoder import Encoder
from tests.benchmarks.peers import in_turn, sentence_transformer
from tests.benchmarks.shapes import MAX_LENGTH, save_sarvam, verse_texts

WEIGHTS = 2.246e9  # outside the embeddings: what multiplies every token


def main(backbone: Path | None, rows: int = 16384) -> None:
    """Print texts and real tokens a second of each way on the same model and texts.

    Args:
        backbone: folder of a causal LM. Empty: Sarvam-1's shape with random weights.
        rows: texts of the fastest way; slow ways take fewer.
    """
    if not torch.cuda.is_available():
        print("not run: no CUDA GPU here")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = backbone or save_sarvam(Path(scratch) / "sarvam", "cuda")
        encoder = Encoder.load(folder, device="cuda")
        texts = verse_texts(rows)
        sequences = encoder.contract.tokenize(encoder.tokenizer, texts)
        count_N = np.array([len(one) for one in sequences])
        card = torch.cuda.get_device_name()
        print(f"{card}: {rows} texts of {count_N.mean():.1f} tokens on average")
        ceiling = matmul_rate()
        print(f"bf16 matrix product of 8192: {ceiling / 1e12:.0f} TFLOP/s\n")
        peer = sentence_transformer(folder, MAX_LENGTH, "cuda").to(torch.bfloat16)
        few, some = texts[:200], texts[:4096]
        eager = encoder.encode(some, progress=False)
        report("sentence-transformers", eager, peer.encode(some, batch_size=512))

        def ours(budget: int) -> Callable[[], Any]:
            return lambda: encoder.encode(texts, batch_tokens=budget, progress=False)

        ways: dict[str, Callable[[], Any]] = {"packed to 8192 tokens, eager": ours(8192)}
        seconds = in_turn(ways, rounds=3)
        started = time.perf_counter()
        encoder.compile()
        report("compiled", eager, encoder.encode(some, progress=False))
        print(f"first encoding with compiled layers: {time.perf_counter() - started:.0f} s\n")
        ways = {f"packed to {budget} tokens, compiled": ours(budget) for budget in (8192, 65536)}
        ways |= {
            f"sentence-transformers, batch {size}": lambda size=size, peer=peer: peer.encode(
                some if size < 512 else texts, batch_size=size
            )
            for size in (32, 128, 512)
        }
        seconds |= in_turn(ways, rounds=3)
        del peer, ways  # the causal LM needs the memory
        seconds |= in_turn({"the original, one text at a time": one_by_one(folder, few)}, rounds=3)
        rows_of = dict.fromkeys(seconds, rows) | {
            "sentence-transformers, batch 32": len(some),
            "sentence-transformers, batch 128": len(some),
            "the original, one text at a time": len(few),
        }
        best = max(rows_of[name] / seconds[name] for name in seconds if name.startswith("packed"))
        print("| way | texts/s | real tokens/s | MFU | our best is faster by |")
        print("|---|---|---|---|---|")
        for name, took in seconds.items():
            tokens = count_N[: rows_of[name]].sum() / took
            mfu = tokens * 2 * WEIGHTS / ceiling
            rate = rows_of[name] / took
            print(f"| {name} | {rate:,.0f} | {tokens:,.0f} | {mfu:.1%} | {best / rate:.2f} x |")
        print(f"\npeak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def report(name: str, ours: np.ndarray, other: np.ndarray) -> None:
    """Print how far two ways are apart, and refuse to time two different computations."""
    cosine = (ours * other).sum(axis=1)
    print(f"{name}: smallest cosine to ours, eager: {cosine.min():.5f}")
    assert cosine.min() > 0.99, "another computation"


def matmul_rate(size: int = 8192, rounds: int = 20) -> float:
    """FLOP/s of a bf16 matrix product, the ceiling of this machine."""
    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(rounds):
        left @ right
    end.record()
    torch.cuda.synchronize()
    return 2 * size**3 * rounds / (start.elapsed_time(end) / 1000)


def one_by_one(folder: Path, texts: list[str]) -> Callable[[], Any]:
    """The original's way: a forward of the whole causal LM for each text, all states kept."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to("cuda").eval()
    tokenizer = Encoder.load(folder, device="cuda").tokenizer

    @torch.no_grad()
    def encode() -> list[np.ndarray]:
        vectors = []
        for text in texts:
            ids = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
            states = model(ids.to("cuda"), output_hidden_states=True).hidden_states[-1]
            vectors.append(states[0, -1].float().cpu().numpy())
        return vectors

    return encode
