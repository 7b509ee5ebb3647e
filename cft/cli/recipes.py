"""``cft recipe``: write a recipe down."""

import json
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import yaml

from cft.errors import CftError
from cft.recipe import Recipe, load_recipe

RECIPE_GROUP = "cft.recipes"


def shipped_recipes() -> dict[str, Path]:
    """Recipes that installed packages announce, by name."""
    found: dict[str, Path] = {}
    for entry in entry_points(group=RECIPE_GROUP):
        folder: Callable[[], Path] = entry.load()
        found |= {file.stem: file for file in sorted(folder().glob("*.yaml"))}
    return found


def find_recipe(name: str) -> Recipe:
    """A shipped recipe by name, or a YAML file by path.

    Raises:
        CftError: there is no such recipe, or it is not a valid one.
    """
    shipped = shipped_recipes()
    if name in shipped:
        return load_recipe(shipped[name])
    if Path(name).suffix in {".yaml", ".yml"} or Path(name).exists():
        return load_recipe(Path(name))
    raise CftError(
        f"--recipe {name}: no such recipe; take one of {', '.join(sorted(shipped))} or a YAML file"
    )


def as_yaml(recipe: Recipe) -> str:
    """Every setting of a recipe, as YAML that :func:`cft.recipe.load_recipe` reads back."""
    plain: dict[str, Any] = recipe.model_dump(mode="json")
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


@click.command()
@click.argument("name", default="pilot")
@click.option("--list", "list_names", is_flag=True, help="Name the recipes that are shipped.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of a recipe instead.")
def recipe_command(name: str, list_names: bool, schema: bool) -> None:
    """Print every setting of the recipe NAME (or YAML file) as YAML."""
    if list_names:
        click.echo("\n".join(shipped_recipes()))
    elif schema:
        click.echo(json.dumps(Recipe.model_json_schema(), indent=2, ensure_ascii=False))
    else:
        click.echo(as_yaml(find_recipe(name)), nl=False)
