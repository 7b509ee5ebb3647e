"""Command-line flags grown from the settings tree.

Every leaf of :class:`cft.recipe.Recipe` is a flag: ``data.num_rows`` is ``--num-rows``,
``model.lora.r`` is ``--lora-r``, ``stage1.learning_rate`` is ``--stage1-learning-rate``; a command
about one part of the tree takes the leaves of that part. Flags change a recipe; pydantic, not
click, judges the result, so a bad value reads the same everywhere.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from cft.recipe import FlagPrefix, Recipe, Settings, validated
from cft.recipe.tree import Tree


@dataclass(frozen=True)
class Leaf:
    """One setting: where it stands in the tree and how its flag is spelled."""

    path: tuple[str, ...]
    flag: str
    field: FieldInfo

    @property
    def parameter(self) -> str:
        """Name under which click hands the value over; dotted names cannot be identifiers."""
        return "__".join(self.path)


def leaves(
    node: type[Settings] = Recipe, path: tuple[str, ...] = (), prefix: str = ""
) -> Iterator[Leaf]:
    """All settings of a tree, depth first, in the order in which they are declared.

    Args:
        node: the tree, or a part of it.
        path: where that part stands in :class:`Recipe`.
        prefix: how its flags begin.
    """
    for name, field in node.model_fields.items():
        here = (*path, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            marks = [mark.text for mark in field.metadata if isinstance(mark, FlagPrefix)]
            yield from leaves(field.annotation, here, marks[0] if marks else prefix)
        elif not _is_list_of_trees(field.annotation):  # such a list is for files and forms
            yield Leaf(here, f"--{prefix}{name}".replace("_", "-"), field)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        return next(arm for arm in get_args(annotation) if arm is not type(None))
    return annotation


def _is_list(annotation: Any) -> bool:
    return get_origin(_without_none(annotation)) is list


def _is_list_of_trees(annotation: Any) -> bool:
    items = get_args(annotation) if get_origin(annotation) is list else ()
    return any(isinstance(one, type) and issubclass(one, Settings) for one in items)


class ListOption(click.Option):
    """Takes ``A,B``, and by :class:`RecipeCommand` also ``A B``."""


def shown_value(value: Any) -> str | None:
    """A default as help states it; None for one that says nothing."""
    if isinstance(value, list | tuple):
        return ",".join(str(one) for one in value) or "none"
    return None if value is None else str(value) if value != "" else repr(value)


def default_in(base: Tree) -> Callable[[Leaf], str | None]:
    """What help states where a command starts from these settings."""

    def shown(leaf: Leaf) -> str | None:
        value: Any = base
        for name in leaf.path:
            value = getattr(value, name)
        return shown_value(value)

    return shown


def _declared(leaf: Leaf) -> str | None:
    return shown_value(leaf.field.default)


def _option(leaf: Leaf, aliases: Sequence[str], default: str | None) -> click.Option:
    kind = _without_none(leaf.field.annotation)
    text = leaf.field.description or ""
    names = [leaf.parameter, leaf.flag, *aliases]
    if default is not None:
        text = f"{text}  [default: {default}]"
    if _is_list(leaf.field.annotation):
        return ListOption(names, type=str, metavar="A,B or A B", help=text)
    if kind is bool:
        return click.Option(
            [leaf.parameter, f"{leaf.flag}/--no-{leaf.flag[2:]}"], default=None, help=text
        )
    if get_origin(kind) is Literal:
        return click.Option(names, type=click.Choice(get_args(kind)), help=text)
    metavar = {int: "N", float: "X", str: "TEXT"}[kind]
    return click.Option(names, type=str, metavar=metavar, help=text)


class RecipeCommand(click.Command):
    """A command that also takes values the argparse way: ``--strategies A B``, ``--bf16 True``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [one for one in self.params if isinstance(one, click.Option)]
        lists = {flag for one in options if isinstance(one, ListOption) for flag in one.opts}
        switches = {flag for one in options if one.secondary_opts for flag in one.opts}
        joined: list[str] = []
        words = iter(args)
        open_list = False
        for word in words:
            if word.startswith("-"):
                name, has_value, _ = word.partition("=")
                open_list = name.replace("_", "-") in lists and not has_value
                joined.append(word)
            elif open_list and not joined[-1].startswith("-"):
                joined[-1] += f",{word}"
            elif (
                joined
                and joined[-1].replace("_", "-") in switches
                and word.lower() in {"true", "false"}
            ):
                if word.lower() == "false":
                    joined[-1] = f"--no-{joined[-1][2:]}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)


def options_for(
    chosen: Sequence[Leaf],
    aliases: Mapping[str, Sequence[str]] | None = None,
    shown: Callable[[Leaf], str | None] = _declared,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: give a click command one flag per setting; values arrive as keywords.

    Args:
        chosen: the settings.
        aliases: other spellings of a flag, ``{"--batch-size": ["--per-device-train-batch-size"]}``.
        shown: the default that help states, where that is not the declared one.
    """
    aliases = aliases or {}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        parameters = getattr(command, "__click_params__", [])
        command.__click_params__ = [  # type: ignore[attr-defined]
            *parameters,
            *reversed([_option(leaf, aliases.get(leaf.flag, ()), shown(leaf)) for leaf in chosen]),
        ]
        return command

    return decorate


# Of a command that takes a recipe: every default is that recipe's, which its own flag says.
recipe_options = options_for(tuple(leaves()), shown=lambda leaf: None)


def apply_flags(base: Tree, flags: Mapping[str, Any], chosen: Sequence[Leaf] | None = None) -> Tree:
    """The settings with the flags that were given put in place of their values.

    Args:
        base: the recipe, or another tree of settings, to change.
        flags: values by :attr:`Leaf.parameter`; None where a flag was not given.
        chosen: the settings that were offered. Empty: all.

    Raises:
        CftError: a value does not fit its field; the message names the field.
    """
    values = base.model_dump()
    for leaf in chosen if chosen is not None else leaves(type(base)):
        given = flags.get(leaf.parameter)
        if given is None:
            continue
        node = values
        for name in leaf.path[:-1]:
            node = node[name]
        if _is_list(leaf.field.annotation):
            given = [part for part in given.replace(",", " ").split() if part]
        node[leaf.path[-1]] = given
    return validated(values, "command line", type(base))
