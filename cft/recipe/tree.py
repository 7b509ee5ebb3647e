"""The whole tree, from and to YAML and plain dictionaries."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, overload

import yaml
from pydantic import Field, ValidationError

from cft.errors import CftError, problems_of
from cft.files import digest_json
from cft.recipe.base import FlagPrefix, Settings
from cft.recipe.data import DataRecipe
from cft.recipe.model import ModelRecipe
from cft.recipe.training import LaunchRecipe, TrainRecipe

Tree = TypeVar("Tree", bound=Settings)


class EvalRecipe(Settings):
    """How the three models are compared."""

    bootstrap_samples: int = Field(1000, ge=100, description="Resamples behind every 95% interval.")
    batch_tokens: int = Field(8192, ge=64, description="Tokens encoded at once.")
    intervals: Literal["percentile", "bca"] = Field(
        "percentile", description="How 95% intervals are read; bca corrects for bias and skew."
    )
    seed: int = Field(0, ge=0, description="Seed of the resampling.")


class TrackingRecipe(Settings):
    """Names in MLflow, and how long a run waits for it."""

    experiment: str = Field("cft", min_length=1, description="MLflow experiment.")
    model_name: str = Field("cft-embedder", min_length=1, description="Registered model.")
    wait_seconds: int = Field(
        30,
        ge=0,
        le=3600,
        description="Seconds a run waits for MLflow at most; what it has not taken comes later.",
    )


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


# Digests of their own answer for the texts, the triplets and the backbone, wherever they lie; how
# a model is named, evaluated and tracked, and on which device it trains, makes it no other model.
_TRAINS: dict[str, Any] = {
    "model": True,
    "stage1": True,
    "stage2": True,
    "launch": {"num_processes"},
}
_ANSWERED_FOR: dict[str, Any] = {
    "model": {"backbone", "nano"},
    "stage1": {"compile"},
    "stage2": {"compile"},
}


def training_digest(recipe: Recipe) -> str:
    """Digest of the settings that make another adapter from the same triplets and backbone."""
    return digest_json(recipe.model_dump(include=_TRAINS, exclude=_ANSWERED_FOR))


@overload
def validated(values: dict[str, Any], source: str) -> Recipe: ...


@overload
def validated(values: dict[str, Any], source: str, kind: type[Tree]) -> Tree: ...


def validated(values: dict[str, Any], source: str, kind: type[Settings] = Recipe) -> Settings:
    """Build a :class:`Recipe`, or another tree of settings, from a plain dictionary.

    Raises:
        CftError: naming ``source``, the field, what is wrong and the value that was given.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise CftError(f"{source}: {problems_of(error)}") from None


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a YAML file.

    Raises:
        CftError: the file is missing, is not YAML, or holds an unknown or impossible value.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CftError(f"{path}: no such recipe; name a YAML file that exists") from None
    except OSError as error:  # a folder, or a file of somebody else
        raise CftError(f"{path}: cannot be read ({error.strerror}); name a YAML file") from None
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
