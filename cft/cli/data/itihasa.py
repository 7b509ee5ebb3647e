"""``cft data itihasa``: stage-1 triplets as a CSV file."""

from pathlib import Path
from typing import Any

import click

from cft.cli.data.flags import data_leaves, data_recipe, itihasa_option, itihasa_place
from cft.cli.options import ListOption, RecipeCommand, options_for

LEAVES = data_leaves("triplet_types", "min_distance", "num_rows", "seed")


@click.command("itihasa", cls=RecipeCommand)
@itihasa_option
@click.option(
    "--output-csv", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    default=Path("data/itihasa_triplets.csv"), show_default=True,
    help="Where to write sent0, sent1, hard_neg; a manifest goes beside it.",
)  # fmt: skip
@click.option(
    "--splits", cls=ListOption, default="train", show_default=True, metavar="A,B or A B",
    help="Splits to make triplets of: train, dev, test. Only train leaves something to be "
    "evaluated on.",
)  # fmt: skip
@click.option(
    "--rule", type=click.Choice(["chapters", "rows"]),
    help="What counts as near: a chapter, or the number of the row alone, as in the original "
    "system.  [default: chapters where they are known]",
)  # fmt: skip
@options_for(LEAVES)
def command(
    itihasa: Path | None, output_csv: Path, splits: str, rule: str | None, **flags: Any
) -> None:
    """Triplets of the Itihasa: (verse, translation, distant translation), (verse, next, distant).

    Rows that share a text with a split that is left out are dropped, and so is what is no verse
    with its translation; the manifest counts them.

    \b
    Examples
      cft data itihasa --itihasa data/itihasa --output_csv itihasa.csv
      cft data itihasa --triplet_types cross_lingual --num_rows 2000
      cft data itihasa --splits train dev test --rule rows     the original system's 186K
    """
    from cft.corpora.itihasa import load_itihasa
    from cft.triplets.exports import itihasa_export, require_table_name, write_csv

    require_table_name(output_csv)
    recipe = data_recipe(flags, LEAVES)
    corpus = load_itihasa(itihasa_place(itihasa), recipe.num_rows)
    names = list(dict.fromkeys(splits.replace(",", " ").split()))
    triplets, manifest = itihasa_export(corpus, recipe, names, rule)
    write_csv(output_csv, triplets, manifest)
    for kind, count in triplets.kinds().items():
        click.echo(f"{kind:<14} {count}")
    click.echo(f"neighbours     {manifest['neighbour_rule']}")
    click.echo(output_csv)
