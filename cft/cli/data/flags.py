"""Flags that the data verbs share with the settings tree."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from cft.cli.options import Leaf, apply_flags, leaves
from cft.recipe import HUB, DataRecipe, Recipe


def data_leaves(*names: str) -> tuple[Leaf, ...]:
    """The settings of the data with these names, in the order of the tree."""
    return tuple(one for one in leaves(DataRecipe, ("data",)) if one.path[-1] in names)


def data_recipe(flags: Mapping[str, Any], chosen: tuple[Leaf, ...], **sources: Any) -> DataRecipe:
    """The settings that the flags of a verb make, and the places of its sources."""
    data = apply_flags(Recipe(), flags, chosen).data
    return data.model_copy(update=sources)


def itihasa_place(given: Path | None) -> Path:
    """Folder of the Itihasa: the one that is given, else the one fetched from the hub."""
    from cft.corpora.sources import local_sources

    if given is not None and str(given) != HUB:
        return given
    return Path(str(local_sources(DataRecipe(itihasa=HUB)).itihasa))


itihasa_option = click.option(
    "--itihasa", type=click.Path(path_type=Path), metavar="DIR|hub",
    help="Folder of {train,dev,test}.{sn,en}, with train.chapters.tsv where known.  "
    "[default: hub, kept under CFT_HOME/sources]",
)  # fmt: skip


def encoder_options(backbone: str, adapter: str) -> Callable[[Any], Any]:
    """``--backbone``, ``--adapter``, ``--device``, ``--trust-remote-code``.

    Args:
        backbone: what the verb needs the backbone for.
        adapter: what it says of the adapter.
    """
    options = (
        click.option(
            "--backbone", "--model-name-or-path", "--model-path", "backbone", metavar="DIR",
            type=click.Path(path_type=Path), help=backbone,
        ),
        click.option(
            "--adapter", "--adapter-path", "adapter", metavar="DIR",
            type=click.Path(path_type=Path), help=adapter,
        ),
        click.option(
            "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto",
            show_default=True, help="Where the encoder runs.",
        ),
        click.option(
            "--trust-remote-code", is_flag=True, help="Run Python files of the backbone."
        ),
    )  # fmt: skip

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add
