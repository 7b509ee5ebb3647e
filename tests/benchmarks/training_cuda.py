"""Training at Sarvam-1's shape in bfloat16: ours, the original's way, and sentence-transformers.

LoRA (r 8, alpha 32, dropout 0.1, q_proj and v_proj) and InfoNCE with one hard negative, on random
weights and texts of the lengths of Itihasa's verses. Real tokens never count padding.

Needs a CUDA GPU with 75 GB of memory; elsewhere it says so and ends.
"""

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize
from transformers import AutoModelForCausalLM, TrainerCallback

from cft.recipe import LoraRecipe, ModelRecipe, Recipe, TrainRecipe
from cft.tracking.run_directory import RunDirectory
from cft.training.batches import BatchLoader, collate
from cft.training.gather import rank, world_size
from cft.training.job import build_embedder
from cft.training.objective import LossOptions, contrastive_loss
from cft.training.spec import TrainSpec
from cft.training.trainer import ContrastiveTrainer
from tests.benchmarks.encoding_cuda import WEIGHTS, matmul_rate
from tests.benchmarks.shapes import (
    ENGLISH,
    MAX_LENGTH,
    SANSKRIT,
    VOCABULARY,
    save_sarvam,
    verse_lengths,
)

LORA = LoraRecipe(r=8, alpha=32, dropout=0.1, target_modules=["q_proj", "v_proj"])
ROUGH = 100 * 2**30  # bytes: with less, the batches are smaller
STEPS, WARM, WINDOW = 45, 15, 5


class RandomStore:
    """Triplets of random tokens, a Sanskrit length for the anchor and English ones for the rest.

    The part of a :class:`~cft.triplets.store.TokenStore` that a batch is read by.
    """

    has_query_tokens = False

    def __init__(self, rows: int, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        self.rows, self.folder = rows, Path("random")
        lengths = [verse_lengths(rows, kind, draw) for kind in (SANSKRIT, ENGLISH, ENGLISH)]
        self.lengths = np.stack(lengths, axis=1).ravel()
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._tokens = draw.integers(3, VOCABULARY, self._starts[-1]).astype(np.int32)

    def triplet_ids(self, rows_B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Anchor, positive and hard negatives of some rows; no text stands twice."""
        first_B = rows_B.astype(np.int64) * 3
        return first_B, first_B + 1, (first_B + 2)[:, None]

    def batch_tokens(self, ids: np.ndarray, kind: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Tokens of texts end to end, and their lengths."""
        parts = [self._tokens[self._starts[one] : self._starts[one + 1]] for one in ids]
        return np.concatenate(parts), self.lengths[ids]

    def known_positives(self, ids: np.ndarray) -> np.ndarray:
        """Of each anchor its own positive."""
        return (ids + 1)[:, None]


@dataclass(frozen=True)
class Measured:
    """One way, in its steady state."""

    batch: int
    rate: float  # triplets a second
    peak: float  # GiB

    def row(self, name: str, tokens: float, ceiling: float, best: float) -> str:
        """A line of the table; ``tokens`` of a triplet on average."""
        mfu = self.rate * tokens * 4 * WEIGHTS / ceiling
        return (
            f"| {name} | {self.batch} | {self.rate:.1f} | {self.rate * tokens:,.0f} | {mfu:.1%} | "
            f"{self.peak:.0f} | {best / self.rate:.2f} x |"
        )


def main(backbone: Path | None, rows: int = 4096) -> None:
    """Print triplets a second of each way on the same model, lengths and machine.

    Args:
        backbone: folder of a causal LM of a Llama's make. Empty: Sarvam-1's shape.
        rows: triplets to draw from.
    """
    if not torch.cuda.is_available():
        print("not run: no CUDA GPU here")
        return
    total = torch.cuda.get_device_properties(0).total_memory
    ample = total > ROUGH
    store = RandomStore(rows)
    tokens = float(store.lengths.mean() * 3)
    ceiling = matmul_rate()
    print(
        f"{torch.cuda.get_device_name()}, {total / 2**30:.0f} GiB; torch {torch.__version__}; "
        f"{tokens:.1f} tokens a triplet; bf16 matrix product of 8192: {ceiling / 1e12:.0f} TFLOP/s"
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = backbone or save_sarvam(Path(scratch) / "sarvam", "cuda")
        ways: dict[str, Callable[[], Measured]] = {
            "the original as configured": lambda: original(folder, store, 7),
            "the original, large batch": lambda: original(folder, store, 64 if ample else 32),
            "sentence-transformers, MNRL": lambda: peer(folder, store, 64 if ample else 40),
            "cft, eager": lambda: ours(folder, store, 192 if ample else 128, scratch, False),
            "cft, compiled layers": lambda: ours(folder, store, 192, scratch, True),
            "cft, compiled, large batch": lambda: ours(folder, store, 320, scratch, True),
            "cft, compiled, float8": lambda: ours(folder, store, 192, scratch, True, float8=True),
            "cft, compiled, float8, large batch": lambda: ours(
                folder, store, 320, scratch, True, float8=True
            ),
        }
        found: dict[str, Measured] = {}
        for name, way in ways.items():
            started = time.perf_counter()
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            try:
                found[name] = way()
            except torch.cuda.OutOfMemoryError as error:
                print(f"{name}: out of memory ({error})"[:200])
                continue
            took = time.perf_counter() - started
            print(f"{name}: {found[name].rate:.1f} triplets/s, {took:.0f} s in all", flush=True)
        print(f"cosine of float8's gradient to bfloat16's: {gradient_cosine(folder, store):.4f}")
    best = max(one.rate for one in found.values())
    print("\n| way | batch | triplets/s | real tokens/s | MFU | peak GiB | the best is faster by |")
    print("|---|---|---|---|---|---|---|")
    for name, one in found.items():
        print(one.row(name, tokens, ceiling, best))


def ours(
    folder: Path, store: Any, batch: int, scratch: str, compiled: bool, **more: Any
) -> Measured:
    """The trainer itself, with its loader, its logging and its optimiser."""
    path = Path(tempfile.mkdtemp(dir=scratch)) / "run"
    path.mkdir()
    run = trained(folder, store, batch, path, compiled, **more)
    return Measured(batch, rate_of(run), peak())


def rate_of(run: RunDirectory, after: int = WARM) -> float:
    """Median triplets a second of what was logged after a step."""
    name = "train/triplets_per_second"
    found = [one for one in run.read_events()[0] if one["kind"] == "metric" and one["step"] > after]
    return statistics.median(one["values"][name] for one in found if name in one["values"])


def trained(
    folder: Path, store: Any, batch: int, path: Path, compiled: bool,
    dropout: float = LORA.dropout, callbacks: Sequence[TrainerCallback] = (), **more: Any,
) -> RunDirectory:  # fmt: skip
    """Some steps of this rank's share of a training, whose run directory is ``path``.

    ``more`` goes into the recipe of the stage.
    """
    spec = spec_of(folder, batch, dropout, compile=compiled, **more)
    run = RunDirectory(path)
    loader = BatchLoader(store, batch, STEPS, 0, rank(), world_size())
    trainer = ContrastiveTrainer(build_embedder(spec), loader, spec.train, run, "cuda")
    for one in callbacks:
        trainer.add_callback(one)
    trainer.train()
    return run


def gradient_cosine(folder: Path, store: RandomStore, batch: int = 64) -> float:
    """Of the adapter's whole gradient, with the frozen weights in float8 and in bfloat16."""
    found = []
    for float8 in (False, True):
        embedder = build_embedder(spec_of(folder, batch, 0.0, float8=float8)).to("cuda").train()
        trained = [one for one in embedder.parameters() if one.requires_grad]
        torch.manual_seed(0)
        for one in trained:
            if not one.any():  # B begins at zero, and A then has no gradient
                torch.nn.init.normal_(one, std=0.02)
        made = collate(store, np.arange(batch), 0).to("cuda")  # type: ignore[arg-type]
        temperature = torch.tensor(0.05, device="cuda")
        made_UD = embedder(made.packed)
        loss = contrastive_loss(made_UD, made, temperature, True, [batch], LossOptions()).loss
        found.append(torch.cat([one.flatten() for one in torch.autograd.grad(loss, trained)]))
    return float(torch.cosine_similarity(*found, dim=0))


def spec_of(folder: Path, batch: int, dropout: float = LORA.dropout, **more: Any) -> TrainSpec:
    """The yardstick's stage; ``more`` goes into its recipe."""
    recipe = TrainRecipe(
        batch_size=batch,
        max_steps=STEPS,
        warmup_steps=2,
        save_steps=10 * STEPS,
        logging_steps=WINDOW,
        bf16=True,
        **more,
    )
    lora = LORA.model_copy(update={"dropout": dropout})
    model = ModelRecipe(backbone=str(folder), max_length=MAX_LENGTH, lora=lora)
    return TrainSpec(
        recipe=Recipe(model=model, stage1=recipe),
        stage="stage1",
        store="random",
        backbone=str(folder),
        world_size=world_size(),
    )


def original(folder: Path, store: RandomStore, batch: int) -> Measured:
    """Three forwards of the whole causal LM, padded to 150, all hidden states kept."""
    model = with_lora(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16))

    def embed(ids: np.ndarray) -> torch.Tensor:
        ids_BL = torch.zeros(len(ids), MAX_LENGTH, dtype=torch.int64)
        for row, one in enumerate(ids):
            flat, (length,) = store.batch_tokens(np.array([one]))
            ids_BL[row, MAX_LENGTH - length :] = torch.from_numpy(flat.astype(np.int64))
        ids_BL = ids_BL.to("cuda")
        states = model(
            input_ids=ids_BL, attention_mask=(ids_BL != 0).long(), output_hidden_states=True
        )
        return states.hidden_states[-1][:, -1]

    def loss(rows_B: np.ndarray) -> torch.Tensor:
        anchor, positive, negative = store.triplet_ids(rows_B)
        a_BD, p_BD, n_BD = (embed(one) for one in (anchor, positive, negative.ravel()))
        return infonce(a_BD, p_BD, n_BD)

    return timed(model, store, batch, loss)


def peer(folder: Path, store: RandomStore, batch: int) -> Measured:
    """The loss and the model of sentence-transformers, dynamic padding, tokenised beforehand."""
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    from tests.benchmarks.peers import sentence_transformer

    model = sentence_transformer(folder, MAX_LENGTH, "cuda").to(torch.bfloat16)
    inner = model[0]
    name = "auto_model" if hasattr(inner, "auto_model") else "model"
    setattr(inner, name, with_lora(getattr(inner, name)))
    objective = MultipleNegativesRankingLoss(model, scale=20.0)

    def features(ids: np.ndarray) -> dict[str, torch.Tensor]:
        flat, lengths = store.batch_tokens(ids)
        ids_BL = torch.zeros(len(ids), int(lengths.max()), dtype=torch.int64)
        mask_BL = torch.zeros_like(ids_BL)
        for row, part in enumerate(np.split(flat, np.cumsum(lengths)[:-1])):
            ids_BL[row, : len(part)] = torch.from_numpy(part.astype(np.int64))
            mask_BL[row, : len(part)] = 1
        return {"input_ids": ids_BL.to("cuda"), "attention_mask": mask_BL.to("cuda")}

    def loss(rows_B: np.ndarray) -> torch.Tensor:
        anchor, positive, negative = store.triplet_ids(rows_B)
        columns = [features(one) for one in (anchor, positive, negative.ravel())]
        return objective(columns, torch.empty(0, device="cuda"))

    return timed(model, store, batch, loss)


def with_lora(model: Any) -> Any:
    """PEFT's adapter of the yardstick, in float32 on frozen bfloat16 weights."""
    from peft import get_peft_model

    from tests.benchmarks.peers import peft_config

    return get_peft_model(model.to("cuda"), peft_config(LORA)).train()


def infonce(a_BD: torch.Tensor, p_BD: torch.Tensor, n_BD: torch.Tensor) -> torch.Tensor:
    """The original's loss: cosines over 0.05, in-batch positives and hard negatives."""
    a_BD, p_BD, n_BD = (normalize(one.float(), dim=1) for one in (a_BD, p_BD, n_BD))
    logits = a_BD @ torch.cat([p_BD, n_BD]).T / 0.05
    return cross_entropy(logits, torch.arange(len(a_BD), device=logits.device))


def timed(
    model: Any, store: RandomStore, batch: int, loss: Callable[[np.ndarray], torch.Tensor]
) -> Measured:
    """Optimiser steps until the rate is that of the steady state."""
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-5, weight_decay=1e-4)
    draw, seconds = np.random.default_rng(0), []
    for step in range(13):
        rows_B = draw.choice(store.rows, batch, replace=False)
        torch.cuda.synchronize()
        started = time.perf_counter()
        loss(rows_B).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        if step >= 3:
            seconds.append(time.perf_counter() - started)
    return Measured(batch, batch / statistics.median(seconds), peak())


def peak() -> float:
    """GiB that were allocated at most."""
    return torch.cuda.max_memory_allocated() / 2**30
