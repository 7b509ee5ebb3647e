"""Verbs that run flows: ``cft pilot``, ``cft two-stage`` and ``cft prepare``.

They live here, above the flows, and register with ``cft`` as entry points; the orchestrator is
imported only when one of them runs, after its environment is set.
"""

from pathlib import Path
from typing import Any

import click

from cft.cli.options import RecipeCommand, apply_flags, recipe_options
from cft.cli.recipes import find_recipe
from cft.recipe import Recipe

recipe_option = click.option(
    "--recipe",
    "recipe_name",
    default="pilot",
    show_default=True,
    metavar="NAME|FILE",
    help="A shipped recipe (pilot, sarvam, minicpm) or a YAML file.",
)


def recipe_folder() -> Path:
    """Folder of the recipes that ship with the project."""
    return Path(__file__).parent / "recipes"


def run_two_stage(recipe: Recipe) -> None:
    """Run the two-stage flow in this process and print its result."""
    from cft.home import Home
    from flows.environment import prepare_environment

    prepare_environment(Home.from_environment())

    from flows.two_stage import run_and_show

    run_and_show(recipe)


def run_prepare(recipe: Recipe) -> None:
    """Run the prepare flow in this process and print its result."""
    from cft.home import Home
    from flows.environment import prepare_environment

    prepare_environment(Home.from_environment())

    from flows.prepare import run_and_show

    run_and_show(recipe)


@click.command(cls=RecipeCommand)
@recipe_options
def pilot(**flags: Any) -> None:
    """Run the two-stage job on two cores in minutes, with no network.

    Without flags: the embedded corpus and a nano backbone that is trained on the spot. With
    --itihasa, --vbt and --backbone: the same flow on real input.

    \b
    Examples
      cft pilot
      cft pilot --itihasa data/itihasa --vbt data/vbt.json --num-rows 2000
      cft pilot --backbone models/my-small-llama --stage1-learning-rate 5e-4
    """
    run_two_stage(apply_flags(find_recipe("pilot"), flags))


@click.command(cls=RecipeCommand)
@recipe_option
@recipe_options
def two_stage_command(recipe_name: str, **flags: Any) -> None:
    """Run the two-stage job of a recipe: data, stage 1, stage 2, evaluation, registration.

    \b
    Examples
      cft two-stage --recipe sarvam --backbone pretrained/sarvam-1 --itihasa DIR --vbt FILE
      cft recipe pilot > mine.yaml && cft two-stage --recipe mine.yaml
    """
    run_two_stage(apply_flags(find_recipe(recipe_name), flags))


@click.command(cls=RecipeCommand)
@recipe_option
@recipe_options
def prepare_command(recipe_name: str, **flags: Any) -> None:
    """Prepare the data of a recipe: corpora, triplets, leak guard, tokenised stores, manifest.

    A later `cft two-stage` of the same recipe takes what is there. Of a given backbone its
    tokenizer suffices (`cft model fetch sarvam-1 --tokenizer-only`).

    \b
    Examples
      cft prepare --recipe sarvam --itihasa DIR --vbt FILE
      cft prepare --num-rows 2000
    """
    run_prepare(apply_flags(find_recipe(recipe_name), flags))
