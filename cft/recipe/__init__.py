"""The one typed tree of settings.

The same tree is the flags of the command line, the YAML of a recipe, the form in the Prefect UI,
the params in MLflow and ``spec.json`` in a run directory. Unknown keys and values out of range
are errors that name the field. Defaults are those of the original two-stage Sarvam-1 training.
"""

from cft.recipe.base import FlagPrefix, Settings
from cft.recipe.data import HUB, DataRecipe
from cft.recipe.gate import Floor, GateRecipe, SliceRule
from cft.recipe.model import LoraRecipe, ModelRecipe, NanoRecipe
from cft.recipe.training import LaunchRecipe, TrainRecipe
from cft.recipe.tree import (
    EvalRecipe,
    Recipe,
    TrackingRecipe,
    flattened,
    load_recipe,
    training_digest,
    validated,
)

__all__ = [
    "HUB",
    "DataRecipe",
    "EvalRecipe",
    "FlagPrefix",
    "Floor",
    "GateRecipe",
    "LaunchRecipe",
    "LoraRecipe",
    "ModelRecipe",
    "NanoRecipe",
    "Recipe",
    "Settings",
    "SliceRule",
    "TrackingRecipe",
    "TrainRecipe",
    "flattened",
    "load_recipe",
    "training_digest",
    "validated",
]
