"""``cft reconcile``."""

from typing import Any

import click

from cft.cli.options import RecipeCommand, apply_flags, leaves, options_for
from deployments.cli import run
from flows.forms_reconcile import ReconcileSettings

RECONCILE = tuple(leaves(ReconcileSettings))


@click.command(cls=RecipeCommand)
@options_for(RECONCILE)
def reconcile_command(**flags: Any) -> None:
    """Find what died without a word (runs, jobs, MLflow runs, slots), and mend it.

    \b
    Examples
      cft reconcile --dry-run
    """
    run.flow("reconcile", apply_flags(ReconcileSettings(), flags, RECONCILE))
