"""Training on a CPU: our trainer against sentence-transformers' own, in float32.

The same LoRA (r 8, alpha 32, dropout 0.1, q_proj and v_proj), InfoNCE with one hard negative, the
same optimiser, and the same batches of the same tokenised texts; see ``peer_training.py`` for how
the peer is given them. Steps alone are timed, with threads that sleep while they wait, as in every
training that the project launches: on a machine with other work, spinning ones cost both ways most
of their time.

The nano backbone reads the embedded epic; a backbone that is given reads the folder that
``CFT_ITIHASA`` names (``train.sn``, ``train.en``), where it is set, else the epic as well.
"""

import gc
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from cft.model.identity import backbone_digest
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import DataRecipe, LoraRecipe, ModelRecipe, Recipe, TrainRecipe
from cft.tracking.run_directory import RunDirectory
from cft.training.batches import BatchLoader
from cft.training.job import build_embedder
from cft.training.progress import Progress
from cft.training.spec import TrainSpec
from cft.training.trainer import ContrastiveTrainer
from cft.triplets.prepare import load_triplets, prepare
from cft.triplets.store import TokenStore, build_store
from tests.benchmarks.peer_training import PeerTrainer, StopWatch, peer_trainer
from tests.benchmarks.peers import nano

BATCHES = (32, 128)
TIMED = {"nano": 1280, "given": 64}  # triplets of a round: the given backbone may be large
ROUNDS = 3
MODEL = ModelRecipe(
    lora=LoraRecipe(r=8, alpha=32, dropout=0.1, target_modules=["q_proj", "v_proj"])
)
Trainer = ContrastiveTrainer | PeerTrainer


def main(backbone: Path | None, rows: int | None = None) -> None:
    """Print triplets a second of both trainers, on the nano backbone and on the given one.

    Args:
        backbone: folder of a causal LM, measured beside the nano one.
        rows: verse pairs to make triplets of; empty or 0: all.
    """
    disable_progress_bar()
    lines = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folders: dict[str, tuple[Path, str | None]] = {"nano": (nano(scratch / "nano"), None)}
        if backbone is not None:
            folders[backbone.name] = (backbone, os.environ.get("CFT_ITIHASA"))
        for title, (folder, corpus) in folders.items():
            data = DataRecipe(itihasa=corpus, num_rows=rows or None)
            store = tokenised(folder, data, scratch / f"store-{title}")
            ids = store.triplet_ids(torch.arange(store.rows).numpy())
            tokens = sum(float(store.lengths(column.ravel()).mean()) for column in ids)
            print(f"{title}: {store.rows} triplets of {tokens:.1f} tokens", flush=True)
            require_same_loss(folder, store, scratch)
            for batch in BATCHES:
                steps = max(1, TIMED["nano" if title == "nano" else "given"] // batch)
                rate = measured(folder, store, batch, steps, scratch)
                ours, theirs = rate["cft"], rate["sentence-transformers"]
                lines.append(
                    f"| {title} | {batch} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} x |"
                )
    print("\n| backbone | batch | cft, triplets/s | sentence-transformers | ours is faster by |")
    print("|---|---|---|---|---|")
    print("\n".join(lines))


def tokenised(backbone: Path, data: DataRecipe, folder: Path) -> TokenStore:
    """The stage-1 triplets of a corpus in the tokens of a backbone."""
    prepared = prepare(data, folder / "data")
    tokenizer = load_tokenizer(backbone)
    contract = TextContract.of(MODEL, tokenizer, backbone_digest(backbone))
    triplets = load_triplets(prepared, "stage1")
    return TokenStore.open(build_store(folder / "store", triplets, contract, tokenizer, {}))


def measured(
    backbone: Path, store: TokenStore, batch: int, steps: int, scratch: Path
) -> dict[str, float]:
    """Median triplets a second of each trainer, run A B A B …, after one step of each as warm-up.

    Every round begins with a fresh model, so each does the same work each time.
    """

    def rate(way: str, steps: int) -> float:
        recipe = recipe_of(batch, steps)
        trainer: Trainer
        if way == "cft":
            whole, folder = Recipe(model=MODEL, stage1=recipe), tempfile.mkdtemp(dir=scratch)
            trainer = our_trainer(backbone, store, whole, Path(folder), "cpu")
        else:
            trainer = peer_trainer(backbone, store, MODEL, recipe, scratch / "peer", "cpu")
        watch = StopWatch(0)
        trainer.add_callback(watch)
        gc.collect()
        trainer.train()
        found = batch * steps / watch.seconds
        print(f"batch {batch}, {way}: {found:.1f} triplets/s", file=sys.stderr)
        return found

    ways = ("cft", "sentence-transformers")
    for way in ways:
        rate(way, 1)
    rates = [[rate(way, steps) for way in ways] for _ in range(ROUNDS)]
    return {
        way: statistics.median(found)
        for way, found in zip(ways, zip(*rates, strict=True), strict=True)
    }


def recipe_of(batch: int, steps: int, **changes: Any) -> TrainRecipe:
    """One stage, which logs at its ends only: the peer does not log at all."""
    return TrainRecipe(
        batch_size=batch,
        max_steps=steps,
        warmup_steps=1,
        logging_steps=10 * steps,
        save_steps=10 * steps,
        **changes,
    )


def our_trainer(
    backbone: Path, store: TokenStore, recipe: Recipe, folder: Path, device: str
) -> ContrastiveTrainer:
    """Stage 1 of a recipe, as a training process builds it."""
    stage = recipe.stage1
    spec = TrainSpec(recipe=recipe, stage="stage1", store=str(store.folder), backbone=str(backbone))
    loader = BatchLoader(store, stage.batch_size, stage.max_steps, stage.seed, 0, 1)
    run = RunDirectory(folder)
    trainer = ContrastiveTrainer(build_embedder(spec), loader, stage, run, device)
    trainer.remove_callback(Progress)  # the peer shows no bar either
    return trainer


def require_same_loss(backbone: Path, store: TokenStore, scratch: Path) -> None:
    """Assert that both see the same model and the same first batch.

    A fresh adapter adds nothing, so the loss of the first step does not depend on dropout. Masking
    is off, as the peer has none.
    """
    recipe = recipe_of(32, 2, mask_false_negatives=False)
    whole, folder = Recipe(model=MODEL, stage1=recipe), tempfile.mkdtemp(dir=scratch)
    losses = []
    for trainer in (
        our_trainer(backbone, store, whole, Path(folder), "cpu"),
        peer_trainer(backbone, store, MODEL, recipe, scratch / "peer", "cpu"),
    ):
        model: Any = trainer.model
        inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        with torch.no_grad():
            loss: Any = trainer.compute_loss(model, inputs)
        losses.append(float(loss))
    print(f"loss of the first batch: {losses[0]:.6f} and {losses[1]:.6f}")
    assert abs(losses[0] - losses[1]) < 1e-4, "another model or other texts"
