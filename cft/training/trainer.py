"""The trainer: transformers' loop around one packed forward and one contrastive loss a step."""

import logging
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from cft.errors import CftError
from cft.model.embedder import Embedder
from cft.recipe import TrainRecipe
from cft.tracking.run_directory import RunDirectory
from cft.training.batches import Batch, BatchLoader, share_of
from cft.training.checkpoints import load_checkpoint, save_checkpoint
from cft.training.gather import rank, sum_over_ranks, world_size
from cft.training.gradcache import cached_backward, cut
from cft.training.loss import LossOutput
from cft.training.objective import LossOptions, contrastive_loss
from cft.training.progress import Progress
from cft.training.system import SystemMetrics
from cft.training.temperature import Temperature
from cft.training.trainee import Trainee

logger = logging.getLogger("cft.training")


def training_arguments(recipe: TrainRecipe, run: RunDirectory, device: str) -> TrainingArguments:
    """The recipe in the words of transformers, with everything off that we do ourselves."""
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints),
        use_cpu=device == "cpu",
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.batch_size,
        # Accumulated batches do not see each other's negatives; GradCache is our way to more.
        gradient_accumulation_steps=1,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=recipe.warmup_steps,
        lr_scheduler_type=recipe.lr_scheduler_type,
        max_grad_norm=recipe.max_grad_norm,
        logging_steps=recipe.logging_steps,
        logging_first_step=True,
        save_steps=recipe.save_steps,
        seed=recipe.seed,
        # The filter would look at every loss on the host, and hide what we want to know.
        logging_nan_inf_filter=False,
        # Weights are loaded in the wanted precision and the adapter is float32: no autocast.
        bf16=False,
        # The loader starts at the right step by itself.
        ignore_data_skip=True,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        # The buffers are constants of the architecture; DDP would send them before every forward.
        ddp_broadcast_buffers=False,
        report_to="none",
        # Our own callback shows a named bar and lines that a person reads.
        disable_tqdm=True,
    )
    # One process is one GPU. Alone on a host with several, transformers would cut every batch up
    # among all of them in threads (DataParallel), which our packs do not survive.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


class ContrastiveTrainer(Trainer):
    """Trains an :class:`Embedder` on a :class:`BatchLoader`, writing into a run directory.

    Everything random in a step is a function of seed, step and rank, so that a resumed run is the
    undisturbed run.
    """

    # The loss is the mean over the global batch already.
    loss_is_scaled_for_ga = True

    def __init__(
        self, embedder: Embedder, loader: BatchLoader, recipe: TrainRecipe, run: RunDirectory,
        device: str,
    ) -> None:  # fmt: skip
        temperature = Temperature(recipe.temperature, recipe.learn_temperature)
        super().__init__(
            model=Trainee(embedder, temperature),
            args=training_arguments(recipe, run, device),
            callbacks=[_LogLastStep(), _KeepInRange(temperature), Progress(run.path.name)],
        )
        self.remove_callback(PrinterCallback)
        self.embedder = embedder
        self.temperature = temperature
        self.loader = loader
        self.recipe = recipe
        self.run = run
        self._system = SystemMetrics()
        self._counts = [recipe.batch_size_for(world_size())] * world_size()
        self._options = LossOptions(
            recipe.false_negative_margin, recipe.query_query_negatives,
            recipe.document_document_negatives, tuple(recipe.matryoshka_dims),
        )  # fmt: skip
        self._reset_window()

    def get_train_dataloader(self) -> Any:
        """Our own loader: ranks already have their shares, accelerate must not cut them again."""
        return self.loader

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **kwargs)
        # Only now is the state of a checkpoint known.
        self.loader.first_step = self.state.global_step
        return prepared

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"batch": inputs["batch"].to(self.args.device)}

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """One optimiser step's loss and gradients; dropout is drawn from (seed, step, rank)."""
        if inputs["batch"].step != self.state.global_step:
            raise RuntimeError(
                f"batch of step {inputs['batch'].step} in step {self.state.global_step}"
            )
        torch.manual_seed(_step_seed(self.recipe.seed, self.state.global_step))
        if self.recipe.micro_batch_tokens is None:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        batch: Batch = self._prepare_inputs(inputs)["batch"]
        output = cached_backward(
            model,
            cut(batch.packed, self.recipe.micro_batch_tokens),
            lambda embedding_UD: self._loss(embedding_UD, batch),
            list(self.temperature.parameters()),
        )
        return output.loss

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:  # fmt: skip
        """One forward for all texts of the batch, then the loss over all ranks."""
        batch: Batch = inputs["batch"]
        embedding_UD = model(batch.packed)
        loss = self._loss(embedding_UD, batch).loss
        return (loss, embedding_UD) if return_outputs else loss

    def _loss(self, embedding_UD: torch.Tensor, batch: Batch) -> LossOutput:
        output = contrastive_loss(
            embedding_UD, batch, self.temperature(), self.recipe.mask_false_negatives,
            self._counts, self._options,
        )  # fmt: skip
        self._watch(batch, output.loss.detach(), output.negatives, output.masked)
        return output

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """All but the temperature: decay would pull it to 1, which is no neutral value."""
        names = super().get_decay_parameter_names(model)
        return [name for name in names if not name.endswith("log_scale")]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write the metrics of the steps since the last call into the event log.

        Every rank calls it: the sums are over all ranks.
        """
        if "loss" in logs:
            self._require_finite()
            logs = logs | self._window_metrics()
            if self.is_world_process_zero():
                values = {f"train/{name}": value for name, value in logs.items()}
                values |= self._system.due()
                self.run.append_event("metric", self.state.global_step, **values)
        super().log(logs, start_time)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._require_finite()
        if self.is_world_process_zero():
            save_checkpoint(self, self.run)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        load_checkpoint(self.embedder, self.temperature, resume_from_checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing to load: see :meth:`training_step`."""

    def _reset_window(self) -> None:
        """Begin a new stretch between two logs. Sums stay on the device until it ends."""
        device = self.args.device
        self._negatives = torch.zeros((), dtype=torch.int64, device=device)
        self._masked = torch.zeros((), dtype=torch.int64, device=device)
        self._bad_step = torch.full((), -1, dtype=torch.int64, device=device)
        self._tokens = self._triplets = self._steps = 0
        self._since = time.perf_counter()

    def _watch(
        self, batch: Batch, loss: torch.Tensor, negatives: torch.Tensor, masked: torch.Tensor
    ) -> None:
        self._negatives += negatives
        self._masked += masked
        fresh = ~torch.isfinite(loss) & (self._bad_step < 0)
        self._bad_step = torch.where(fresh, batch.step, self._bad_step)
        self._tokens += batch.packed.tokens
        self._triplets += batch.triplets
        self._steps += 1

    def _window_metrics(self) -> dict[str, float]:
        seconds = time.perf_counter() - self._since
        host = torch.tensor([self._tokens, self._triplets], device=self.args.device)
        sums = sum_over_ranks(torch.stack([self._negatives, self._masked, *host]))
        negatives, masked, tokens, triplets = sums.tolist()
        steps = self._steps
        self._reset_window()
        learned = self.recipe.learn_temperature
        return {
            **({"temperature": float(self.temperature().detach())} if learned else {}),
            "negatives_per_query": negatives / triplets,
            "masked_negatives": masked / steps,
            "triplets_per_second": triplets / seconds,
            "tokens_per_second": tokens / seconds,
            "tokens": tokens / steps,
        }

    def _require_finite(self) -> None:
        """Stop all ranks when a loss of this window was not finite, naming the batch's texts."""
        steps = torch.stack([self._bad_step + 1 if r == rank() else torch.zeros_like(self._bad_step)
                             for r in range(world_size())])  # fmt: skip
        bad = [int(one) - 1 for one in sum_over_ranks(steps) if one]
        if not bad:
            return
        step = min(bad)
        if self.is_world_process_zero():
            rows_G = self.loader.rows(step)
            columns = [self.loader.store.triplet_ids(share_of(rows_G, r, world_size()))
                       for r in range(world_size())]  # fmt: skip
            names = ("anchor_ids", "positive_ids", "negative_ids")
            ids = {
                name: [one for share in columns for one in share[place].tolist()]
                for place, name in enumerate(names)
            }
            self.run.append_event(
                "note", step + 1, text="the loss is not finite", rows=rows_G.tolist(), **ids
            )
        raise CftError(
            f"{self.run.path}: the loss of step {step + 1} is not finite; its text ids are in "
            f"{self.run.events.name}: lower the learning rate or mend the texts, "
            "the last checkpoint is kept"
        )


def _step_seed(seed: int, step: int) -> int:
    """A seed for everything random in a step on this rank."""
    return int(np.random.SeedSequence([seed, step, rank()]).generate_state(1, np.uint64)[0])


class _KeepInRange(TrainerCallback):
    """Puts a learned temperature back into its range after every update."""

    def __init__(self, temperature: Temperature) -> None:
        self.temperature = temperature

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.temperature.clamp_()


class _LogLastStep(TrainerCallback):
    """The last steps are logged as well where their number is no multiple of the interval."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True
