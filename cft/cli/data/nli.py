"""``cft data nli``: English triplets of natural-language inference as a CSV file."""

from pathlib import Path
from typing import Any

import click

from cft.cli.data.flags import data_leaves, data_recipe
from cft.cli.options import RecipeCommand, options_for

LEAVES = data_leaves("num_rows")


@click.command("nli", cls=RecipeCommand)
@click.option(
    "--nli", "given", type=click.Path(path_type=Path), metavar="FILE",
    help="A local CSV or TSV with sent0, sent1 and hard_neg.  [default: it is downloaded]",
)  # fmt: skip
@click.option(
    "--url", metavar="URL",
    help="Where to download from.  [default: nli_for_simcse.csv on the hub]",
)  # fmt: skip
@click.option(
    "--output-csv", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    default=Path("data/nli_for_simcse.csv"), show_default=True,
    help="Where to write the usable rows; a manifest goes beside it.",
)  # fmt: skip
@options_for(LEAVES)
def command(given: Path | None, url: str | None, output_csv: Path, **flags: Any) -> None:
    """English NLI triplets (275K): premise, what it entails, what contradicts it.

    A download that broke off goes on where it stopped. It must have the size, and on the hub the
    SHA-256, that the server declares; a lock beside it under CFT_HOME/sources pins it from then on.

    \b
    Examples
      cft data nli --output_csv nli.csv
      cft data nli --nli mine.tsv --num_rows 20000
    """
    from cft.corpora.sources import nli_file
    from cft.home import Home
    from cft.triplets.exports import require_table_name, write_csv
    from cft.triplets.nli import nli_triplets

    require_table_name(output_csv)
    recipe = data_recipe(flags, LEAVES)
    triplets, manifest = nli_triplets(
        nli_file(given, url, Home.from_environment()), recipe.num_rows
    )
    write_csv(output_csv, triplets, manifest)
    click.echo(output_csv)
