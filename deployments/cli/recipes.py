"""The recipes that ship with the project, and the flag that names one."""

from pathlib import Path

import click

recipe_option = click.option(
    "--recipe",
    "recipe_name",
    default="pilot",
    show_default=True,
    metavar="NAME|FILE",
    help="A shipped recipe (pilot, sarvam, minicpm) or a YAML file. It has the defaults of all "
    "flags about data, model, stages and evaluation: see `cft recipe NAME`.",
)


def recipe_folder() -> Path:
    """Folder of the recipes that ship with the project."""
    return Path(__file__).resolve().parents[1] / "recipes"
