"""What a person sees of a running training: a bar, and one line every logging interval."""

from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Progress(TrainerCallback):
    """A bar over the optimiser steps; rank 0 alone shows it.

    Args:
        stage: what the bar is called.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._bar: tqdm | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self._bar = tqdm(
                total=state.max_steps, initial=state.global_step, desc=self.stage, unit="step"
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar is not None:
            self._bar.update()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self._bar is None or not logs or "loss" not in logs:
            return
        tqdm.write(
            f"{self.stage} step {state.global_step}/{state.max_steps}"
            f"  loss {float(logs['loss']):.3f}"
            f"  lr {float(logs['learning_rate']):.2e}"
            f"  grad norm {float(logs['grad_norm']):.2f}"
            f"  {float(logs['triplets_per_second']):.0f} triplets/s"
        )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar is not None:
            self._bar.close()
