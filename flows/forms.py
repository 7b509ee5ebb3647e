"""The parameters of the flows: one tree each, which is the form in the UI and the flags of a verb.

Every field has a plain default (one made by a factory does not reach the form), a description and
its bounds, so the server refuses an impossible run before it exists.
"""

from typing import Annotated, Literal

from pydantic import Field

from cft.recipe import EvalRecipe, FlagPrefix, Recipe, Settings, TrackingRecipe
from tasks.machine.settings import MachineSettings

Suite = Literal["trika", "sanskrit-sts"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]


class TrainSettings(Settings):
    """One stage of a recipe, trained and evaluated by itself."""

    recipe: Recipe = Field(Recipe(), description="Every setting of the training.")
    stage: Literal["stage1", "stage2"] = Field(
        "stage1", description="Which stage's triplets and settings."
    )
    init_adapter: str | None = Field(
        None,
        description="Folder of an adapter to begin at, with a fresh optimiser, such as that of a "
        "stage 1. Empty: a new adapter.",
    )
    machine: Annotated[MachineSettings, FlagPrefix("machine-")] = Field(
        MachineSettings(), description="Where it trains; all else is done where the flow runs."
    )


class EvaluateSettings(Settings):
    """One model on suites."""

    model: str = Field(
        min_length=1,
        description="A folder, a run directory, models:/cft-embedder@champion, or the name of a "
        "sentence-transformers model.",
    )
    suites: list[Suite] = Field(
        ["trika"],
        min_length=1,
        description="trika, and sanskrit-sts where labelled pairs are given.",
    )
    base: str | None = Field(
        None, description="Another model, which the first is compared with and drifts from."
    )
    backbone: str | None = Field(
        None, description="Of an adapter that lies apart from it. Empty: what it names itself."
    )
    adapter: str | None = Field(None, description="Adapter on the backbone that `model` names.")
    pairs: str | None = Field(
        None, description="Labelled pairs of sanskrit-sts, as `cft data vbt-eval` writes them."
    )
    benchmarks: list[str] = Field(
        [], description="Tasks of mteb as well, by name, such as STSBenchmark."
    )
    benchmark_data: str | None = Field(
        None, description="Local data of the benchmarks. Empty: they are fetched."
    )
    contaminated: bool = Field(
        False, description="The model is known to be trained on texts of these suites."
    )
    device: Device = Field(
        "auto", description="auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:1, mps."
    )
    evaluation: Annotated[EvalRecipe, FlagPrefix("eval-")] = Field(
        EvalRecipe(), description="Intervals and batches."
    )
    tracking: TrackingRecipe = Field(TrackingRecipe(), description="Names in MLflow.")


class BaselinesSettings(Settings):
    """Models side by side on one suite."""

    models: list[str] = Field(
        ["all"],
        min_length=1,
        description="labse, multilingual-e5-large, bge-m3, vyakyarth, base, ours, a folder, "
        "OWNER/NAME, all. The first is what the others are compared with.",
    )
    suite: Suite = Field("trika", description="trika, or sanskrit-sts where pairs are given.")
    model_path: str | None = Field(None, description="The base model.")
    adapter_path: str | None = Field(
        None, description="Our adapter, on the base model or on the one that it was trained on."
    )
    listed: str | None = Field(
        None, description="YAML file of models and their prompts. Empty: the package's own."
    )
    pairs: str | None = Field(
        None, description="Labelled pairs of sanskrit-sts, as `cft data vbt-eval` writes them."
    )
    device: Device = Field(
        "auto", description="auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:1, mps."
    )
    evaluation: Annotated[EvalRecipe, FlagPrefix("eval-")] = Field(
        EvalRecipe(), description="Intervals and batches."
    )
    tracking: TrackingRecipe = Field(TrackingRecipe(), description="Names in MLflow.")
