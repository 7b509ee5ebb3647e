"""``cft``: one verb a capability.

Verbs that live above this package (flows, deployments) announce themselves as entry points in the
group ``cft.commands``; nothing here imports them by name, and nothing is imported before its verb
is asked for, so ``cft --help`` stays quick.
"""

import logging
import sys
from importlib.metadata import entry_points

import click

from cft import __version__
from cft.cli.data import data_group
from cft.cli.eval import eval_group
from cft.cli.model import model_group
from cft.cli.recipes import recipe_command
from cft.cli.train import train_command
from cft.errors import CftError

COMMAND_GROUP = "cft.commands"


class Verbs(click.Group):
    """A group whose commands come from this package and from entry points."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *entry_points(group=COMMAND_GROUP).names})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self.commands:
            return self.commands[name]
        found = entry_points(group=COMMAND_GROUP, name=name)
        return next(iter(found)).load() if found else None


def dashes(name: str) -> str:
    """Fold ``num_rows`` into ``num-rows``: both spellings of every flag work."""
    return name.replace("_", "-")


@click.group(
    cls=Verbs,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": dashes,
        "max_content_width": 100,
    },
)
@click.version_option(__version__, "-V", "--version")
def app() -> None:
    """Turn a small causal language model into a Sanskrit-English sentence embedder.

    \b
    First steps
      cft pilot                                 the whole two-stage job, offline, in minutes
      cft pilot --itihasa DIR --vbt FILE        the same on real corpora
      cft recipe pilot > my.yaml                write down every setting, then change some
      cft two-stage --recipe my.yaml            run with yours

    Every flag also takes underscores (--num_rows). State lives under CFT_HOME (default ~/.cft).
    """


app.add_command(recipe_command, "recipe")
app.add_command(model_group, "model")
app.add_command(train_command, "train")
app.add_command(data_group, "data")
app.add_command(eval_group, "eval")


def main() -> None:
    """Entry point: user errors are one line on stderr and exit code 2, never a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("cft").setLevel(logging.INFO)
    try:
        app(prog_name="cft")
    except CftError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
