"""``cft data``: where texts come from and what becomes of them; one verb a source or step.

One module a verb, and none is imported before its verb is asked for.
"""

from importlib import import_module

import click

VERBS = {
    "itihasa": "cft.cli.data.itihasa:command",
    "vbt": "cft.cli.data.vbt:command",
    "vbt-eval": "cft.cli.data.vbt:evaluation_command",
    "nli": "cft.cli.data.nli:command",
    "preprocess": "cft.cli.data.preprocess:command",
    "mine": "cft.cli.data.mine:command",
    "inspect": "cft.cli.data.inspect:command",
}


class DataVerbs(click.Group):
    """A group that imports the module of a verb when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, _, attribute = VERBS[name].partition(":")
        return getattr(import_module(module), attribute)


@click.group("data", cls=DataVerbs)
def data_group() -> None:
    """Texts, triplets and token stores: one verb a source or step."""
