"""``cft eval report``: results of one suite on one HTML page."""

from pathlib import Path
from typing import Any

import click

from cft.cli.eval.flags import INTERVAL_LEAVES, interval_options, scoring
from cft.cli.options import RecipeCommand
from cft.errors import CftError


@click.command("report", cls=RecipeCommand)
@click.argument(
    "results", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False)
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where report.html and plots/ go.  [default: the first result's folder, then -report]",
)
@interval_options
def command(results: tuple[Path, ...], output_dir: Path | None, **flags: Any) -> None:
    """Show RESULTS of one suite on one page: figures, plots, failures verse by verse.

    The page holds all that it shows and needs no network. Where there are several results, the
    others are compared with the first.

    \b
    Examples
      cft eval report eval/base
      cft eval report eval/base eval/tuned --output_dir eval/report
    """
    from cft.evaluation.comparison import compare
    from cft.evaluation.report.page import write_report
    from cft.evaluation.report.texts import texts_of
    from cft.evaluation.result import load_result

    loaded = [load_result(folder) for folder in results]
    names = [one.model for one in loaded]
    if len(set(names)) < len(names):  # two versions of one model
        names = [
            f"{one.model} ({folder.name})" for one, folder in zip(loaded, results, strict=True)
        ]
    found = dict(zip(names, loaded, strict=True))
    if len(found) < len(loaded):
        raise CftError(f"{', '.join(map(str, results))}: one result named twice; name each once")
    settings = scoring(flags, INTERVAL_LEAVES)
    (_, first), *others = found.items()
    folder = output_dir or results[0].with_name(f"{results[0].name}-report")
    page = write_report(
        found,
        texts_of(first),
        folder,
        differences={name: compare(first, one, settings) for name, one in others},
    )
    click.echo(page)
