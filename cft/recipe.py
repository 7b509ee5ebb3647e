"""The one typed tree of settings.

The same tree is the flags of the command line, the YAML of a recipe, the form in the Prefect UI,
the params in MLflow and ``spec.json`` in a run directory. Unknown keys and values out of range
are errors that name the field. Defaults are those of the original two-stage Sarvam-1 training.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cft.errors import CftError


@dataclass(frozen=True)
class FlagPrefix:
    """How the flags of a sub-tree begin on the command line (``lora-`` gives ``--lora-r``)."""

    text: str


class Settings(BaseModel):
    """Base of every node of the tree: immutable and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


HUB = "hub"  # in place of a path: fetched from the hub


class DataRecipe(Settings):
    """Which texts, and how they become triplets."""

    itihasa: str | None = Field(
        None,
        description="Folder of {train,dev,test}.{sn,en} line-aligned files, with "
        "train.chapters.tsv where known, or `hub`. Empty: the embedded synthetic epic.",
    )
    vbt: str | None = Field(
        None,
        description="VBT corpus: a JSON file or a vbt_corpus.py, read as literals. "
        "Empty: the embedded synthetic verses.",
    )
    nli: str | None = Field(
        None,
        description="English NLI triplets that stage 1 trains on in place of the epic: a CSV or "
        "TSV with sent0, sent1 and hard_neg, or `hub`.",
    )
    num_rows: int | None = Field(
        None, ge=1, description="Read only the first N training rows (verses, NLI rows)."
    )
    triplet_types: Literal["cross_lingual", "mono_sa", "both"] = Field(
        "both", description="Which stage-1 triplets to build."
    )
    min_distance: int = Field(
        100, ge=1, description="A stage-1 hard negative is at least so many rows away."
    )
    strategies: list[Literal["A", "B", "C", "D"]] = Field(
        ["A", "B", "C", "D"],
        min_length=1,
        description="Stage-2 strategies: A similarity pairs, B pairs within a theme, "
        "C Sanskrit to English, D English to Sanskrit.",
    )
    n_negs: int = Field(
        3, ge=1, le=64, description="Hard negatives drawn for each strategy-A pair."
    )
    vbt_held_out: float = Field(
        0.3, gt=0, lt=1, description="Share of the VBT verses, by whole themes, kept unseen."
    )
    eval_pairs: int = Field(
        400, ge=10, description="Held-out verse pairs in the retrieval pool, at most."
    )
    all_verses: bool = Field(
        False,
        description="Stage 2 also trains on the held-out verses. The leak guard stops such a run "
        "unless a leak is allowed.",
    )
    eval_sets: list[str] = Field(
        [],
        description="Further evaluation sets whose texts may not be trained on: JSON files, or "
        "`trika` for the embedded one.",
    )
    allow_leak: bool = Field(
        False,
        description="Go on although training rows hold texts of an evaluation set; the run and "
        "its model are marked as contaminated.",
    )
    seed: int = Field(42, ge=0, description="Seed of every draw in the data.")


class NanoRecipe(Settings):
    """The nano backbone that is trained on the spot when no backbone is given."""

    vocab_size: int = Field(3072, ge=512, le=65536, description="Pieces of its BPE tokenizer.")
    hidden_size: int = Field(256, ge=32, multiple_of=16, description="Width of the model.")
    num_layers: int = Field(2, ge=1, le=64, description="Decoder layers.")
    num_heads: int = Field(4, ge=1, le=64, description="Attention heads.")
    max_steps: int = Field(240, ge=1, description="Pre-training optimiser steps.")
    batch_tokens: int = Field(4096, ge=128, description="Tokens of one pre-training step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak learning rate.")
    seed: int = Field(7, ge=0, description="Seed of initialisation and order.")


class LoraRecipe(Settings):
    """The adapter."""

    r: int = Field(8, ge=1, le=1024, description="Rank of the update.")
    alpha: int = Field(32, ge=1, description="Scale: the update is multiplied by alpha / r.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on the adapter's input.")
    target_modules: list[str] = Field(
        ["q_proj", "v_proj"], min_length=1, description="Linear layers that get an adapter."
    )
    init: Literal["gaussian", "kaiming"] = Field(
        "gaussian", description="Initialisation of A (B starts at zero)."
    )


class ModelRecipe(Settings):
    """The backbone and the text contract that travels with its adapter."""

    backbone: str | None = Field(
        None,
        description="Folder of a local causal LM. Empty: a nano backbone trained on the "
        "training texts.",
    )
    trust_remote_code: bool = Field(
        False, description="Run Python files that lie in the backbone's folder. Read them first."
    )
    nano: Annotated[NanoRecipe, FlagPrefix("nano-")] = Field(
        NanoRecipe(), description="The nano backbone."
    )
    max_length: int = Field(150, ge=4, le=32768, description="Tokens of a text, EOS included.")
    pooling: Literal["last", "mean"] = Field(
        "last", description="Which hidden states become the embedding: the EOS token or the mean."
    )
    attention: Literal["causal", "bidirectional"] = Field(
        "causal", description="What a token sees: the texts before it or the whole text."
    )
    query_prompt: str = Field("", description="Put before every anchor and query.")
    document_prompt: str = Field("", description="Put before every positive, negative, document.")
    lora: Annotated[LoraRecipe, FlagPrefix("lora-")] = Field(
        LoraRecipe(), description="The adapter."
    )


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
    gradient_checkpointing: bool = Field(False, description="Trade compute for memory.")
    save_steps: int = Field(500, ge=1, description="Steps between checkpoints.")
    logging_steps: int = Field(10, ge=1, description="Steps between logged metrics.")
    seed: int = Field(7, ge=0, description="Seed of order, dropout and adapter initialisation.")

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_steps > self.max_steps:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) exceeds max_steps ({self.max_steps})"
            )
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


class EvalRecipe(Settings):
    """How the three models are compared."""

    bootstrap_samples: int = Field(1000, ge=100, description="Resamples behind every 95% interval.")
    batch_tokens: int = Field(8192, ge=64, description="Tokens encoded at once.")
    seed: int = Field(0, ge=0, description="Seed of the resampling.")


class TrackingRecipe(Settings):
    """Names in MLflow."""

    experiment: str = Field("cft", min_length=1, description="MLflow experiment.")
    model_name: str = Field("cft-embedder", min_length=1, description="Registered model.")


class Recipe(Settings):
    """Everything that decides a two-stage run."""

    name: str = Field("custom", min_length=1, description="Name of the recipe in every UI.")
    data: DataRecipe = Field(DataRecipe(), description="Texts and triplets.")
    model: ModelRecipe = Field(ModelRecipe(), description="Backbone, text contract and adapter.")
    stage1: Annotated[TrainRecipe, FlagPrefix("stage1-")] = Field(
        TrainRecipe(), description="Stage 1: the epics."
    )
    stage2: Annotated[TrainRecipe, FlagPrefix("stage2-")] = Field(
        TrainRecipe(learning_rate=2e-5, max_steps=500, warmup_steps=50, save_steps=250),
        description="Stage 2: the small domain corpus, from the stage-1 adapter.",
    )
    launch: LaunchRecipe = Field(LaunchRecipe(), description="Where the ranks run.")
    evaluation: Annotated[EvalRecipe, FlagPrefix("eval-")] = Field(
        EvalRecipe(), description="How the models are compared."
    )
    tracking: TrackingRecipe = Field(TrackingRecipe(), description="Names in MLflow.")


def validated(values: dict[str, Any], source: str) -> Recipe:
    """Build a :class:`Recipe` from a plain dictionary.

    Raises:
        CftError: naming ``source``, the field, what is wrong and the value that was given.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']} (got {one['input']!r})"
            for one in error.errors()
        )
        raise CftError(f"{source}: {problems}") from None


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a YAML file.

    Raises:
        CftError: the file is missing, is not YAML, or holds an unknown or impossible value.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CftError(f"{path}: no such recipe; name a YAML file that exists") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CftError(f"{path}: not valid YAML ({error}); mend the file") from None
    if not isinstance(values, dict):
        raise CftError(f"{path}: a recipe is a mapping of sections; see `cft recipe`")
    return validated(values, str(path))


def flattened(node: Settings, prefix: str = "") -> dict[str, Any]:
    """Leaves of the tree by dotted name, as MLflow params: ``{"model.lora.r": 8, ...}``."""
    leaves: dict[str, Any] = {}
    for name in type(node).model_fields:
        value = getattr(node, name)
        if isinstance(value, Settings):
            leaves |= flattened(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = value
    return leaves
