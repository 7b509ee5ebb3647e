"""Forms of the flows that move the champion: what a person may set."""

from typing import Annotated, Literal

from pydantic import Field

from cft.recipe import EvalRecipe, FlagPrefix, GateRecipe, Recipe, Settings
from tasks.machine.settings import MachineSettings

Policy = Literal["promote", "approve", "never"]
MODEL_NAME = "cft-embedder"


class RetrainSettings(Settings):
    """A retraining and what follows from it."""

    recipe: Recipe = Field(Recipe(), description="What is trained, and on which data.")
    gate: Annotated[GateRecipe, FlagPrefix("gate-")] = Field(
        GateRecipe(), description="What the challenger must show."
    )
    machine: Annotated[MachineSettings, FlagPrefix("machine-")] = Field(
        MachineSettings(), description="Where it trains; all else is done where the flow runs."
    )
    policy: Policy = Field(
        "approve",
        description="After a passed gate: promote at once, approve (the run is suspended until a "
        "person has decided in its form), or never (it stays a candidate).",
    )
    force: bool = Field(
        False, description="Train although recipe, data and backbone are those of a version."
    )
    approval_timeout_hours: float = Field(
        72.0, gt=0, le=720, description="The run fails when nobody has decided until then."
    )


class PromoteSettings(Settings):
    """A version that shall become champion."""

    model_name: str = Field(MODEL_NAME, min_length=1, description="Registered model.")
    version: str = Field(
        "candidate", min_length=1, description="Number or alias of the version to promote."
    )
    reason: str = Field("", max_length=300, description="Why, in words; kept in the history.")
    gate: Annotated[GateRecipe, FlagPrefix("gate-")] = Field(
        GateRecipe(), description="What the version must show."
    )
    skip_gate: bool = Field(
        False,
        description="Promote without the gate. A contaminated version is refused all the same.",
    )
    evaluation: Annotated[EvalRecipe, FlagPrefix("eval-")] = Field(
        EvalRecipe(), description="How both are evaluated."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="auto: CUDA where there is one, then MPS, then CPU."
    )
    trust_remote_code: bool = Field(
        False, description="Run Python files that lie in a backbone's folder. Read them first."
    )
    experiment: str = Field("cft", min_length=1, description="MLflow experiment of the gate.")


class RollbackSettings(Settings):
    """A champion that shall make room for the one before it."""

    model_name: str = Field(MODEL_NAME, min_length=1, description="Registered model.")
    reason: str = Field("", max_length=300, description="Why, in words; kept in the history.")
