"""``cft evaluate`` and ``cft baselines``."""

from typing import Any

import click

from cft.cli.options import Leaf, RecipeCommand, apply_flags, leaves, options_for
from cft.recipe import Settings
from deployments.cli import run
from flows.forms import BaselinesSettings, EvaluateSettings


def offered(tree: type[Settings], *without: str) -> tuple[Leaf, ...]:
    """The settings of a tree that a verb has flags for: all but the named ones."""
    return tuple(one for one in leaves(tree) if ".".join(one.path) not in without)


# MODEL is an argument; neither flow registers anything.
EVALUATE = offered(EvaluateSettings, "model", "tracking.model_name")
BASELINES = offered(BaselinesSettings, "tracking.model_name")


@click.command(cls=RecipeCommand)
@click.argument("model")
@options_for(EVALUATE, {"--adapter": ["--adapter-path"], "--benchmark-data": ["--data"]})
def evaluate_command(model: str, **flags: Any) -> None:
    """Score MODEL on suites: figures, a page for each suite, all of it in MLflow and Prefect.

    MODEL is a folder, a run directory, models:/NAME@ALIAS, or the name of a sentence-transformers
    model. Scores of a registered version stand on its page in the registry as well.

    \b
    Examples
      cft evaluate models:/cft-embedder@candidate
      cft evaluate RUN/stage2/adapter --base pretrained/sarvam-1
      cft evaluate MODEL --suites trika,sanskrit-sts --pairs data/vbt_eval.json
    """
    run.flow("evaluate", apply_flags(EvaluateSettings(model=model), flags, EVALUATE))


@click.command(cls=RecipeCommand)
@options_for(BASELINES, {"--listed": ["--baselines"]})
def baselines_command(**flags: Any) -> None:
    """Models side by side on one suite: a page, and a run in MLflow for each model.

    The first of them is what the others are compared with. A model that cannot be loaded is a
    line that says why.

    \b
    Examples
      cft baselines --model-path pretrained/sarvam-1 --adapter_path RUN/stage2/adapter
      cft baselines --models base ours --model_path DIR --adapter_path DIR
    """
    run.flow("baselines", apply_flags(BaselinesSettings(), flags, BASELINES))
