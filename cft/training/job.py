"""What a training process does between reading its spec and writing its status."""

import logging
import time
from pathlib import Path
from typing import Any

import torch

from cft.errors import CftError
from cft.model.backbone import load_backbone
from cft.model.compiled import compile_layers
from cft.model.embedder import Embedder
from cft.model.float8 import freeze_in_float8, require_float8
from cft.model.identity import backbone_digest
from cft.model.lean_lora import use_lean_lora
from cft.model.lora import attach_lora, load_adapter, save_adapter
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import flattened
from cft.tracking.run_directory import RunDirectory
from cft.training.batches import BatchLoader
from cft.training.checkpoint_folders import newest_checkpoint, remove_partials
from cft.training.gather import rank, sum_over_ranks, world_size
from cft.training.matryoshka import nested_sizes
from cft.training.spec import TrainSpec
from cft.training.trainer import ContrastiveTrainer
from cft.triplets.store import TokenStore, require_fit

logger = logging.getLogger("cft.training")


def train(spec: TrainSpec, run: RunDirectory, device: str) -> None:
    """Train the stage of ``spec`` and publish ``<run>/adapter``; go on from a checkpoint if any.

    Raises:
        CftError: the inputs do not belong together, the data is smaller than a batch, the recipe
            does not fit the model or the number of ranks, or the loss is not finite.
    """
    checkpoint = newest_checkpoint(run)
    _require_agreement(run, checkpoint, device)
    if run.adapter.is_dir():
        logger.info("%s is there already; nothing to do", run.adapter)
        return
    leads = rank() == 0
    if leads:
        remove_partials(run)
    recipe = spec.train
    batch_size = recipe.batch_size_for(world_size())
    embedder = build_embedder(spec)
    nested_sizes(recipe.matryoshka_dims, embedder.backbone.config.hidden_size)  # or refuse now
    store = TokenStore.open(Path(spec.store))
    trusted = spec.recipe.model.trust_remote_code
    require_fit(store.folder, embedder.contract, lambda: load_tokenizer(spec.backbone, trusted))
    loader = BatchLoader(store, batch_size, recipe.max_steps, recipe.seed, rank(), world_size())
    negatives = loader.global_batch - 1
    logger.info(
        "%s: world size %d, global batch %d triplets, %d in-batch negatives per query, %s",
        spec.stage, world_size(), loader.global_batch, negatives,
        f"resuming from {checkpoint.name}" if checkpoint else "from the start",
    )  # fmt: skip
    trainer = ContrastiveTrainer(embedder, loader, recipe, run, device)
    if leads:
        if checkpoint is None:
            run.append_event("param", 0, **_params(spec, loader))
        else:
            run.append_event("note", None, text=f"resuming from {checkpoint.name}")
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.perf_counter() - started
    steps = trainer.state.global_step - trainer._initial_global_step
    logger.info(
        "trained %d steps, %d triplets in %.1f s, %.1f triplets/s",
        steps, steps * loader.global_batch, seconds, steps * loader.global_batch / seconds,
    )  # fmt: skip
    if leads:
        save_adapter(embedder.backbone, run.adapter, embedder.contract)


def _require_agreement(run: RunDirectory, checkpoint: Path | None, device: str) -> None:
    """Assert that all ranks see one state of the run: machines may have folders of their own.

    Raises:
        CftError: some ranks would resume where others begin.
    """
    step = int(checkpoint.name.rsplit("-", 1)[-1]) if checkpoint else 0
    seen = torch.zeros(world_size(), 2, dtype=torch.int64, device=device)
    seen[rank()] = torch.tensor([step, int(run.adapter.is_dir())])
    states = sum_over_ranks(seen).tolist()
    if any(state != states[0] for state in states):
        steps = ", ".join(str(one) for one, _ in states)
        raise CftError(
            f"{run.path}: the ranks see checkpoints of different steps ({steps}); give all "
            "machines the run directory of machine 0, shared or copied"
        )


def build_embedder(spec: TrainSpec) -> Embedder:
    """Backbone, fresh or continued adapter, and the contract between them.

    Raises:
        CftError: the adapter to continue was made under another contract or another shape.
    """
    recipe = spec.train
    trusted = spec.recipe.model.trust_remote_code
    tokenizer = load_tokenizer(spec.backbone, trusted)
    contract = TextContract.of(spec.recipe.model, tokenizer, backbone_digest(spec.backbone))
    dtype = torch.bfloat16 if recipe.bf16 else torch.float32
    backbone = load_backbone(
        spec.backbone, dtype, max_length=contract.max_length, trust_remote_code=trusted
    )
    if recipe.gradient_checkpointing:
        backbone.activation_checkpointing_enable({"use_reentrant": False})
    model: Any
    if spec.init_adapter:
        folder = Path(spec.init_adapter)
        contract.require_same(TextContract.load(folder), str(folder))
        model = load_adapter(backbone, folder, trainable=True, expected=spec.recipe.model.lora)
    else:
        model = attach_lora(backbone, spec.recipe.model.lora, recipe.seed)
    if recipe.float8:
        freeze_in_float8(model, require_float8())
    use_lean_lora(model)
    if recipe.compile:
        compile_layers(model)
    return Embedder(model, contract)


def _params(spec: TrainSpec, loader: BatchLoader) -> dict[str, Any]:
    return {
        "stage": spec.stage,
        "world_size": spec.world_size,
        "global_batch": loader.global_batch,
        "rows": loader.store.rows,
        "data_digest": spec.data_digest,
        "init_adapter": spec.init_adapter or "",
        **{f"train.{name}": value for name, value in flattened(spec.train).items()},
        **{f"model.{name}": value for name, value in flattened(spec.recipe.model).items()},
    }
