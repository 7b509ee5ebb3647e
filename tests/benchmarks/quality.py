"""Quality per second: what each change of the recipe brings in the same seconds of training.

Stage 1 on Itihasa, measured as retrieval between the languages over held-out verse pairs: MRR,
the mean of both directions. Every run of a row takes as many steps as fit into the same seconds,
by a rate that is measured first, so the schedule ends when the time does.

Needs a backbone (``--backbone``), a CUDA GPU (on a CPU it runs a short version that shows no more
than that every row works), and from the environment:

    CFT_ITIHASA          folder of {train,dev}.{sn,en}
    CFT_QUALITY_ROWS     numbers of rows, "0,3,5"; not set: all; empty: print the table only
    CFT_QUALITY_OUT      file of finished runs, one JSON line each; those it has are not run again
    CFT_QUALITY_SECONDS  of training a run, 40
    CFT_QUALITY_SEEDS    runs of a row, 3
"""

import gc
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils.logging import disable_progress_bar

from cft.corpora.base import VersePair
from cft.corpora.itihasa import load_itihasa
from cft.errors import CftError
from cft.evaluation.metrics import hits, paired_ranks, reciprocal_ranks, unit_rows
from cft.files import append_line, read_lines
from cft.model.encoder import Encoder
from cft.model.tokenizer import load_tokenizer
from cft.recipe import DataRecipe, Recipe
from cft.text import text_ids
from cft.training.trainer import ContrastiveTrainer
from cft.triplets.store import TokenStore
from tests.benchmarks.peer_training import PeerTrainer, StopWatch, peer_trainer
from tests.benchmarks.quality_rows import (
    Row,
    ablation,
    changed,
    chosen,
    steps_within,
    tables,
    with_steps,
)
from tests.benchmarks.training_cpu import our_trainer, tokenised

Encode = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True)
class Plan:
    """How much of the benchmark this machine can bear."""

    device: str
    name: str  # of the device, for the table
    budget: float  # seconds of training a run
    seeds: int
    pairs: int  # held-out verse pairs
    trial: int  # steps that measure the rate, of which a quarter is not timed
    most_batch: int | None = None
    steps: int | None = None  # in place of the budget's


def plan() -> Plan:
    """The whole benchmark on a GPU, a short one elsewhere."""
    if not torch.cuda.is_available():
        return Plan("cpu", "CPU, shortened", 0.0, 1, 200, 2, most_batch=16, steps=3)
    return Plan(
        device="cuda",
        name=f"{torch.cuda.get_device_name()}, torch {torch.__version__}",
        budget=float(os.environ.get("CFT_QUALITY_SECONDS", "40")),
        seeds=int(os.environ.get("CFT_QUALITY_SEEDS", "3")),
        pairs=2000,
        trial=40,
    )


class WithoutHardNegatives(TokenStore):
    """The same rows; an anchor is kept apart from the positives of other rows alone."""

    def triplet_ids(self, rows_B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Text ids of the given rows, with no column of negatives."""
        anchor_B, positive_B, negative_BK = super().triplet_ids(rows_B)
        return anchor_B, positive_B, negative_BK[:, :0]


def main(backbone: Path | None, rows: int | None = None) -> None:
    """Train and evaluate the chosen rows, and print the table of all that is finished.

    Args:
        backbone: folder of a causal LM.
        rows: verse pairs of the training split to read; empty or 0: all.
    """
    wanted = chosen(os.environ.get("CFT_QUALITY_ROWS"), len(ablation()))
    written = os.environ.get("CFT_QUALITY_OUT")
    if not wanted:
        print(tables(finished(Path(written))) if written else "not run: no CFT_QUALITY_OUT to show")
        return
    corpus = Path(os.environ.get("CFT_ITIHASA", ""))
    missing = [f"{split}.{side}" for split in ("train", "dev") for side in ("sn", "en")
               if not (corpus / f"{split}.{side}").is_file()]  # fmt: skip
    if backbone is None:
        print("not run: give a pre-trained causal LM by --backbone")
        return
    if "CFT_ITIHASA" not in os.environ or missing:
        print(f"not run: CFT_ITIHASA must name a folder of Itihasa; missing: {', '.join(missing)}")
        return
    disable_progress_bar()
    of_plan = plan()
    if of_plan.device == "cpu":
        print("no CUDA GPU here: a few steps of small batches, which say nothing about quality\n")
        rows = rows or 2000
    with tempfile.TemporaryDirectory() as name:
        out = Path(written or Path(name) / "runs.jsonl")
        bench = Bench(backbone, corpus, rows or None, Path(name), of_plan)
        for number in wanted:
            bench.run(number, ablation()[number], out)
        print(f"\n{tables(finished(out))}")


def finished(path: Path) -> list[dict[str, Any]]:
    """The runs of a file."""
    return [value for value, _ in read_lines(path)[0]]


class Bench:
    """Data in the backbone's tokens, made once for each kind of triplets, and the runs on it."""

    def __init__(
        self, backbone: Path, corpus: Path, rows: int | None, scratch: Path, of_plan: Plan
    ) -> None:
        self.backbone, self.corpus, self.rows = backbone, corpus, rows
        self.scratch, self.plan = scratch, of_plan
        self.pairs = load_itihasa(corpus).splits["dev"][: of_plan.pairs]
        self._stores: dict[str, Path] = {}
        self._known_steps: dict[tuple[str, str], int] = {}  # one measured rate for equal recipes

    def run(self, number: int, row: Row, out: Path) -> None:
        """Append a line for every seed that ``out`` lacks; a row that fails is told and left."""
        shown = {"row": number, "name": row.name, "device": self.plan.name,
                 "budget": self.plan.budget}  # fmt: skip
        known = [{key: one[key] for key in (*shown, "seed")} for one in finished(out)]
        seeds = [seed for seed in range(self.plan.seeds) if shown | {"seed": seed} not in known]
        if not seeds:
            return
        recipe = self._borne(row, row.recipe)
        try:
            steps = self.plan.steps or self._steps(row, self._borne(row, row.pace or row.recipe))
            for seed in seeds:
                seeded = changed(with_steps(recipe, steps), stage1__seed=seed)
                seconds, encode = self._trained(row, seeded, 0)
                scores = retrieval(encode, self.pairs)
                batch = recipe.stage1.batch_size
                counts = {"batch": batch, "steps": steps, "triplets": batch * steps}
                append_line(out, {**shown, "seed": seed, **scores, **counts, "seconds": seconds})
                print(f"row {number}, seed {seed}: MRR {scores['mrr']:.4f}, {steps} steps in "
                      f"{seconds:.1f} s ({row.name})", flush=True)  # fmt: skip
        except torch.cuda.OutOfMemoryError as error:
            print(f"row {number}: out of memory ({error})"[:200])
        except CftError as error:
            print(f"row {number}: {error}")

    def _borne(self, row: Row, recipe: Recipe) -> Recipe:
        """The recipe in the precision of the row's way, no larger than this machine can bear."""
        if self.plan.most_batch is not None:
            size = min(self.plan.most_batch, recipe.stage1.batch_size)
            recipe = changed(recipe, stage1__batch_size=size)
        if self.plan.device == "cuda":
            recipe = changed(recipe, stage1__bf16=not row.way.endswith("tf32"))
        return recipe

    def _steps(self, row: Row, recipe: Recipe) -> int:
        """How many steps fit into the budget, by the rate of a few."""
        key = row.way, recipe.model_dump_json()
        if key not in self._known_steps:
            trial = self.plan.trial
            warm = trial // 4
            seconds, _ = self._trained(row, with_steps(recipe, trial), warm)
            self._known_steps[key] = steps_within(self.plan.budget, trial - warm, seconds)
        return self._known_steps[key]

    def _trained(self, row: Row, recipe: Recipe, warm: int) -> tuple[float, Encode]:
        """Seconds of the steps after the first few, and the trained encoder."""
        gc.collect()
        torch.cuda.empty_cache()
        torch.set_float32_matmul_precision("high" if row.way.endswith("tf32") else "highest")
        store = self._store(row, recipe)
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        trainer: Any
        if row.way == "cft":
            trainer = our_trainer(self.backbone, store, recipe, folder, self.plan.device)
        else:
            trainer = peer_trainer(
                self.backbone, store, recipe.model, recipe.stage1, folder, self.plan.device
            )
        watch = StopWatch(warm)
        trainer.add_callback(watch)
        trainer.train()
        return watch.seconds, encoder_of(trainer, self.backbone)

    def _store(self, row: Row, recipe: Recipe) -> TokenStore:
        kind = recipe.data.triplet_types
        if kind not in self._stores:
            started = time.perf_counter()
            data = DataRecipe(itihasa=str(self.corpus), num_rows=self.rows, triplet_types=kind)
            self._stores[kind] = tokenised(self.backbone, data, self.scratch / kind).folder
            print(f"{kind}: data in {time.perf_counter() - started:.0f} s", flush=True)
        return (TokenStore if row.hard_negatives else WithoutHardNegatives)(self._stores[kind])


def encoder_of(trainer: ContrastiveTrainer | PeerTrainer, backbone: Path) -> Encode:
    """What a trainer has trained, as a function of texts."""
    if isinstance(trainer, ContrastiveTrainer):
        encoder = Encoder(trainer.embedder, load_tokenizer(backbone), backbone)
        return lambda texts: encoder.encode(texts, progress=False)
    model: Any = trainer.model
    return lambda texts: np.asarray(model.encode(texts, batch_size=128, show_progress_bar=False))


def retrieval(encode: Encode, pairs: Sequence[VersePair]) -> dict[str, float]:
    """MRR and recall at 1 of verses and translations as queries for each other, means of both."""
    sides = [[pair.sanskrit for pair in pairs], [pair.english for pair in pairs]]
    sa_PD, en_PD = (unit_rows(encode(texts)) for texts in sides)
    sa_id_P, en_id_P = (text_ids(texts) for texts in sides)
    ranks = np.concatenate(
        [
            paired_ranks(sa_PD, en_PD, sa_id_P, en_id_P),
            paired_ranks(en_PD, sa_PD, en_id_P, sa_id_P),
        ]
    )
    return {"mrr": float(reciprocal_ranks(ranks).mean()),
            "recall_at_1": float(hits(ranks, 1).mean())}  # fmt: skip
