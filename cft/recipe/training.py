"""Settings of a stage of training, and of the processes that run it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cft.errors import CftError
from cft.recipe.base import Settings


class TrainRecipe(Settings):
    """One stage of contrastive training."""

    learning_rate: float = Field(5e-5, gt=0, le=1, description="Peak learning rate.")
    max_steps: int = Field(1000, ge=1, description="Optimiser steps.")
    warmup_steps: int = Field(100, ge=0, description="Linear warm-up, in steps.")
    batch_size: int = Field(
        7, ge=1, description="Triplets per process and step; negatives come from all processes."
    )
    global_batch_size: int | None = Field(
        None, ge=1, description="Triplets per step over all processes; replaces the batch size."
    )
    micro_batch_tokens: int | None = Field(
        None,
        ge=1,
        description="Tokens that go through the model at once (GradCache), for batches beyond "
        "memory. Empty: the whole batch.",
    )
    temperature: float = Field(0.05, gt=0, le=10, description="InfoNCE divides cosines by it.")
    learn_temperature: bool = Field(
        False, description="Train the temperature as well, from its value; it stays in [0.01, 1]."
    )
    weight_decay: float = Field(1e-4, ge=0, le=1, description="AdamW weight decay.")
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        "cosine", description="Learning-rate schedule after warm-up."
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient norm is clipped to it.")
    mask_false_negatives: bool = Field(
        True, description="Drop candidates whose text is the query or a known positive of it."
    )
    false_negative_margin: float | None = Field(
        None,
        ge=-2,
        le=2,
        description="Drop candidates whose cosine to the query exceeds the positive's minus this. "
        "Below zero: only candidates so much closer than the positive.",
    )
    query_query_negatives: bool = Field(
        False, description="The queries of other triplets are negatives of a query as well."
    )
    document_document_negatives: bool = Field(
        False, description="A positive is also kept apart from the positives of other triplets."
    )
    matryoshka_dims: list[Annotated[int, Field(ge=1)]] = Field(
        [],
        description="The loss is the mean over these leading dimensions and all of them. "
        "Empty: all of them only.",
    )
    bf16: bool = Field(False, description="bfloat16 forward and backward; the adapter stays fp32.")
    float8: bool = Field(
        False,
        description="Round the frozen weights, once, and what they multiply to float8: a third "
        "faster with `compile` on an H100 or H200; needs bf16.",
    )
    gradient_checkpointing: bool = Field(False, description="Trade compute for memory.")
    compile: bool = Field(
        False,
        description="Compile the decoder layers: on a GPU half as fast again, after a minute or "
        "two at the start.",
    )
    save_steps: int = Field(500, ge=1, description="Steps between checkpoints.")
    logging_steps: int = Field(10, ge=1, description="Steps between logged metrics.")
    seed: int = Field(7, ge=0, description="Seed of order, dropout and adapter initialisation.")

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_steps > self.max_steps:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) exceeds max_steps ({self.max_steps}); "
                "give fewer, or more steps"
            )
        return self

    @model_validator(mode="after")
    def _float8_rounds_bfloat16(self) -> Self:
        if self.float8 and not self.bf16:
            raise ValueError("float8 needs bf16: true; it rounds what is bfloat16 otherwise")
        return self

    @model_validator(mode="after")
    def _temperature_is_learnable(self) -> Self:
        if self.learn_temperature and not 0.01 <= self.temperature <= 1:
            raise ValueError(
                f"temperature ({self.temperature}) must be in [0.01, 1] where it is learned"
            )
        return self

    def batch_size_for(self, world_size: int) -> int:
        """Triplets per process and step on so many processes.

        Raises:
            CftError: the global batch size is no multiple of the number of processes.
        """
        if self.global_batch_size is None:
            return self.batch_size
        size, rest = divmod(self.global_batch_size, world_size)
        if rest:
            raise CftError(
                f"global_batch_size: {self.global_batch_size} triplets cannot be shared equally by "
                f"{world_size} processes; take a multiple of {world_size}"
            )
        return size


class LaunchRecipe(Settings):
    """Where the ranks run."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="auto: CUDA where there is one, then MPS, then CPU."
    )
    num_processes: int | None = Field(
        None, ge=1, le=1024, description="Ranks. Empty: one per GPU, or two on a CPU."
    )
