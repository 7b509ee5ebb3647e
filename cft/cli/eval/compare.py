"""``cft eval compare``: two results of one suite, item by item."""

from pathlib import Path
from typing import Any

import click

from cft.cli.eval.flags import INTERVAL_LEAVES, interval_options, scoring
from cft.cli.options import RecipeCommand
from cft.errors import CftError


@click.command("compare", cls=RecipeCommand)
@click.argument("first", type=click.Path(path_type=Path, file_okay=False))
@click.argument("second", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the differences as JSON as well.",
)  # fmt: skip
@interval_options
def command(first: Path, second: Path, output: Path | None, **flags: Any) -> None:
    """Is the result SECOND better than the result FIRST, metric by metric?

    A difference is called better or worse when the 95% interval of a paired bootstrap leaves out
    zero and, where items can be traded between the two, a paired permutation test gives p of at
    most 0.05; p of the primary metrics is corrected for their number.

    \b
    Examples
      cft eval compare eval/base eval/tuned
      cft eval compare eval/base eval/tuned --output differences.json --eval_intervals bca
    """
    from rich.console import Console

    from cft.evaluation.comparison import compare, compared, difference_table
    from cft.evaluation.result import load_result
    from cft.files import write_json

    before, after = load_result(first), load_result(second)
    rows = compared(compare(before, after, scoring(flags, INTERVAL_LEAVES)))
    names = {first: before.model, second: after.model}
    if before.model == after.model:  # two versions of one model
        names = {folder: f"{name} ({folder.name})" for folder, name in names.items()}
    notes = [
        names[folder] for folder, one in ((first, before), (second, after)) if one.contaminated
    ]
    title = f"{before.suite}: {before.evaluation.evalset}"
    if notes:
        title += f"; CONTAMINATED: {', '.join(notes)}"
    console = Console()
    table = difference_table(rows, names[first], names[second], title)
    Console(width=None if console.is_terminal else 140).print(table)
    if output is not None:
        try:
            write_json(
                output,
                {
                    "suite": before.suite,
                    "evalset": before.evaluation.evalset,
                    "first": {"model": before.model, "revision": before.revision},
                    "second": {"model": after.model, "revision": after.revision},
                    "contaminated": notes,
                    "metrics": {name: row.model_dump() for name, row in rows.items()},
                },
            )
        except OSError as error:
            raise CftError(
                f"{output}: cannot be written ({error.strerror}); name another file"
            ) from None
        click.echo(output)
