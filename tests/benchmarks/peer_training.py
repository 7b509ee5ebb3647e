"""Training by sentence-transformers' own trainer, given every advantage that our trainer has.

It reads the same token ids from the same store in the same order, pads each column to its longest
text, and neither logs, saves nor evaluates. Tokenising, which it would do inside its steps, is done
beforehand as for ours.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import get_peft_model
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.losses import MultipleNegativesRankingLoss
from torch.utils.data import BatchSampler, SequentialSampler
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from cft.recipe import LoraRecipe, ModelRecipe, TrainRecipe
from cft.training.batches import rows_of_step
from cft.triplets.store import TokenStore
from tests.benchmarks.peers import peft_config, sentence_transformer


class StopWatch(TrainerCallback):
    """Seconds from the start of step ``warm + 1`` to the end of the last one, of any trainer.

    What comes before the first step and after the last (state, files) is no part of the rate.
    """

    def __init__(self, warm: int) -> None:
        self.warm = warm
        self.seconds = 0.0
        self._started = 0.0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step == self.warm:
            self._started = _now()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step == state.max_steps:
            self.seconds = _now() - self._started


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Columns:
    """Collates rows of a store: anchors, positives, and hard negatives where the store gives any.

    It stands where sentence-transformers' own collator would tokenise.
    """

    valid_label_columns: tuple[str, ...] = ()

    def __init__(self, store: TokenStore, pad_id: int) -> None:
        self.store, self.pad_id = store, pad_id

    def __call__(self, rows: list[dict[str, int]]) -> dict[str, Any]:
        """``{column}_input_ids`` and ``{column}_attention_mask`` of each column, int64 [B, L]."""
        rows_B = np.array([one["row"] for one in rows])
        anchor_B, positive_B, negative_BK = self.store.triplet_ids(rows_B)
        named = {"anchor": anchor_B, "positive": positive_B}
        named |= {f"negative_{k}": ids_B for k, ids_B in enumerate(negative_BK.T)}
        batch: dict[str, Any] = {}
        for name, ids_B in named.items():
            flat_T, length_B = self.store.batch_tokens(ids_B)
            mask_BL = np.arange(length_B.max()) < length_B[:, None]
            ids_BL = np.full(mask_BL.shape, self.pad_id, dtype=np.int64)
            ids_BL[mask_BL] = flat_T
            batch[f"{name}_input_ids"] = torch.from_numpy(ids_BL)
            batch[f"{name}_attention_mask"] = torch.from_numpy(mask_BL.astype(np.int64))
        return batch


class PeerTrainer(SentenceTransformerTrainer):
    """Takes the rows in the order in which it is given them, and writes no model card."""

    def get_batch_sampler(self, dataset: Any, batch_size: int, **options: Any) -> Any:
        """The rows are shuffled already."""
        return BatchSampler(SequentialSampler(dataset), batch_size, drop_last=True)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: it would look at the texts."""


def peer_trainer(
    backbone: Path,
    store: TokenStore,
    model: ModelRecipe,
    recipe: TrainRecipe,
    folder: Path,
    device: str,
    **options: Any,
) -> PeerTrainer:
    """The recipe in sentence-transformers: the same LoRA, optimiser, schedule, rows and loss.

    Args:
        backbone: folder of the causal LM, taken in float32.
        store: tokenised triplets.
        model: lengths, pooling and LoRA; its attention is always causal here.
        recipe: of the stage; ``bf16`` becomes the trainer's own, which is autocast.
        folder: where the trainer may write.
        device: ``cpu`` or ``cuda``.
        options: further training arguments.
    """
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        use_cpu=device == "cpu",
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=recipe.warmup_steps,
        lr_scheduler_type=recipe.lr_scheduler_type,
        max_grad_norm=recipe.max_grad_norm,
        seed=recipe.seed,
        bf16=recipe.bf16,
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        dataloader_num_workers=0,
        report_to="none",
        disable_tqdm=True,
        **options,
    )
    peer = sentence_transformer(backbone, model.max_length, device, model.pooling).float()
    wear_lora(peer, model.lora, recipe.seed)
    order = [
        rows_of_step(recipe.seed, step, store.rows, recipe.batch_size)
        for step in range(recipe.max_steps)
    ]
    trainer = PeerTrainer(
        model=peer,
        args=arguments,
        train_dataset=Dataset.from_dict({"row": np.concatenate(order)}),
        loss=MultipleNegativesRankingLoss(peer, scale=1 / recipe.temperature),
        data_collator=Columns(store, peer.tokenizer.pad_token_id),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def wear_lora(peer: SentenceTransformer, recipe: LoraRecipe, seed: int) -> None:
    """Wrap the transformer of ``peer`` with PEFT's adapter; only the adapter trains."""
    inner: Any = peer[0]
    name = "model" if "model" in inner._modules else "auto_model"  # by version
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        setattr(inner, name, get_peft_model(getattr(inner, name), peft_config(recipe)))
