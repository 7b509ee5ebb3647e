"""``cft eval``: how good an encoder is; one verb a suite, and two that compare and show results.

One module a verb, and none is imported before its verb is asked for.
"""

from importlib import import_module

import click

VERBS = {
    "trika": "cft.cli.eval.trika:command",
    "sanskrit-sts": "cft.cli.eval.sanskrit_sts:command",
    "mteb-sts": "cft.cli.eval.mteb:sts_command",
    "mteb-retrieval": "cft.cli.eval.mteb:retrieval_command",
    "mteb-bitext": "cft.cli.eval.mteb:bitext_command",
    "baselines": "cft.cli.eval.baselines:command",
    "compare": "cft.cli.eval.compare:command",
    "report": "cft.cli.eval.report:command",
}


class EvalVerbs(click.Group):
    """A group that imports the module of a verb when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, _, attribute = VERBS[name].partition(":")
        return getattr(import_module(module), attribute)


@click.group("eval", cls=EvalVerbs)
def eval_group() -> None:
    """Scores of an encoder, each with its interval: one verb a suite."""
