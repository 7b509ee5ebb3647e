"""``cft retrain``, ``cft promote`` and ``cft rollback``."""

from typing import Any

import click

from cft.cli.options import RecipeCommand, apply_flags, leaves, options_for
from cft.cli.recipes import find_recipe
from deployments.cli import run
from deployments.cli.machine import machine_options, taken_machine
from deployments.cli.recipes import recipe_option
from flows.forms_registry import PromoteSettings, RetrainSettings, RollbackSettings

RETRAIN = tuple(one for one in leaves(RetrainSettings) if one.path[0] != "machine")
ROLLBACK = tuple(leaves(RollbackSettings))
PROMOTE = tuple(one for one in leaves(PromoteSettings) if one.path != ("version",))


@click.command(cls=RecipeCommand)
@recipe_option
@machine_options
@options_for(RETRAIN)
def retrain_command(recipe_name: str, **flags: Any) -> None:
    """Train a challenger where data, recipe or backbone are new, and hold it to the gate.

    Nobody can be asked here: with the policy `approve` a version that passed waits as candidate,
    for `cft promote` or for a run of the deployment `retrain/weekly`.

    \b
    Examples
      cft retrain --recipe sarvam --policy promote
      cft retrain --recipe mine.yaml --force
    """
    machine = taken_machine(flags)
    settings = RetrainSettings(recipe=find_recipe(recipe_name), machine=machine)
    run.flow("retrain", apply_flags(settings, flags, RETRAIN))


@click.command(cls=RecipeCommand)
@click.argument("version", default="candidate")
@options_for(PROMOTE)
def promote_command(version: str, **flags: Any) -> None:
    """Make VERSION (a number or an alias) champion, if it passes the gate.

    \b
    Examples
      cft promote
      cft promote 7 --reason "better on the Spanda Karika"
    """
    run.flow("promote", apply_flags(PromoteSettings(version=version), flags, PROMOTE))


@click.command(cls=RecipeCommand)
@options_for(ROLLBACK)
def rollback_command(**flags: Any) -> None:
    """Make the champion before this one champion again.

    \b
    Examples
      cft rollback --reason "worse in use"
    """
    run.flow("rollback", apply_flags(RollbackSettings(), flags, ROLLBACK))
