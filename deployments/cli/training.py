"""``cft pilot``, ``cft two-stage`` and ``cft prepare``."""

from typing import Any

import click

from cft.cli.options import (
    RecipeCommand,
    apply_flags,
    default_in,
    leaves,
    options_for,
    recipe_options,
)
from cft.cli.recipes import find_recipe
from deployments.cli import run
from deployments.cli.machine import machine_options, taken_machine
from deployments.cli.recipes import recipe_option


@click.command(cls=RecipeCommand)
@machine_options
@options_for(tuple(leaves()), shown=default_in(find_recipe("pilot")))
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
    machine = taken_machine(flags)
    run.flow("two_stage", apply_flags(find_recipe("pilot"), flags), machine)


@click.command(cls=RecipeCommand)
@recipe_option
@machine_options
@recipe_options
def two_stage_command(recipe_name: str, **flags: Any) -> None:
    """Run the two-stage job of a recipe: data, stage 1, stage 2, evaluation, registration.

    \b
    Examples
      cft two-stage --recipe sarvam --backbone pretrained/sarvam-1 --itihasa DIR --vbt FILE
      cft two-stage --recipe sarvam --backbone pretrained/sarvam-1 --machine me@gpu-box
      cft two-stage --recipe sarvam --backbone pretrained/sarvam-1 --machine lambda --max-cost 10
      cft recipe pilot > mine.yaml && cft two-stage --recipe mine.yaml
    """
    machine = taken_machine(flags)
    run.flow("two_stage", apply_flags(find_recipe(recipe_name), flags), machine)


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
    run.flow("prepare", apply_flags(find_recipe(recipe_name), flags))
