"""``cft data vbt`` and ``cft data vbt-eval``: stage-2 triplets, and what they are evaluated on."""

import logging
from pathlib import Path
from typing import Any

import click

from cft.cli.data.flags import data_leaves, data_recipe, itihasa_option, itihasa_place
from cft.cli.options import RecipeCommand, options_for
from cft.errors import CftError

LEAVES = data_leaves("strategies", "n_negs", "vbt_held_out", "all_verses", "seed")
EVALUATION_LEAVES = data_leaves("vbt_held_out", "all_verses", "seed")

log = logging.getLogger(__name__)

_vbt_option = click.option(
    "--vbt", type=click.Path(path_type=Path), metavar="FILE",
    help="The corpus: JSON, or vbt_corpus.py, which is read as literals and never executed.",
)  # fmt: skip
_folder_option = click.option(
    "--sa-embedding-path", "folder", type=click.Path(path_type=Path), metavar="DIR",
    help="In place of --vbt: a folder that holds vbt_corpus.py.",
)  # fmt: skip


@click.command("vbt", cls=RecipeCommand)
@_vbt_option
@_folder_option
@itihasa_option
@click.option(
    "--output-csv", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    default=Path("data/vbt_triplets.csv"), show_default=True,
    help="Where to write sent0, sent1, hard_neg; a manifest goes beside it.",
)  # fmt: skip
@options_for(LEAVES)
def command(
    vbt: Path | None, folder: Path | None, itihasa: Path | None, output_csv: Path, **flags: Any
) -> None:
    """Triplets of the Vijnanabhairava by four strategies; hard negatives come from the Itihasa.

    Some verses are held out, whole groups of them, for `cft data vbt-eval` with the same
    --vbt-held-out and --seed; --all-verses trains on every verse.

    \b
    Examples
      cft data vbt --vbt data/vbt.json --itihasa data/itihasa --output_csv vbt.csv
      cft data vbt --sa_embedding_path ../sa-embedding --strategies A C --n_negs 5
    """
    from cft.corpora.itihasa import load_itihasa
    from cft.corpora.vbt import load_vbt
    from cft.triplets.exports import require_table_name, vbt_export, write_csv

    require_table_name(output_csv)
    recipe = data_recipe(flags, LEAVES)
    verses = load_vbt(_place(vbt, folder))
    made = vbt_export(verses, load_itihasa(itihasa_place(itihasa)), recipe)
    if recipe.all_verses:
        log.warning(
            "all verses are trained on: every evaluation on them is contaminated by this file"
        )
    write_csv(output_csv, made.triplets, made.manifest)
    _show(made, len(verses.verses))
    click.echo(output_csv)


@click.command("vbt-eval", cls=RecipeCommand)
@_vbt_option
@_folder_option
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    default=Path("data/vbt_eval.json"), show_default=True,
    help="Where to write the labelled pairs; the retrieval cases go to FILE's name with "
    "_retrieval.",
)  # fmt: skip
@options_for(EVALUATION_LEAVES)
def evaluation_command(vbt: Path | None, folder: Path | None, output: Path, **flags: Any) -> None:
    """Similar and dissimilar pairs (text_a, text_b, label) and retrieval cases, as JSON.

    Of the verses only those that `cft data vbt` holds out by the same settings; --all-verses
    takes all of them, of which a model that was trained on this corpus has seen most.

    \b
    Examples
      cft data vbt-eval --vbt data/vbt.json --output vbt_eval.json
      cft data vbt-eval --vbt data/vbt.json --all-verses
    """
    from cft.corpora.vbt import load_vbt
    from cft.files import write_json
    from cft.triplets.exports import vbt_evaluation

    recipe = data_recipe(flags, EVALUATION_LEAVES)
    pairs, retrieval = vbt_evaluation(load_vbt(_place(vbt, folder)), recipe)
    similar = sum(one["label"] for one in pairs)
    if not 0 < similar < len(pairs):
        raise CftError(
            f"{similar} similar and {len(pairs) - similar} dissimilar pairs of unseen verses say "
            "nothing; raise --vbt-held-out or take --all-verses"
        )
    cases = output.with_name(f"{output.stem}_retrieval{output.suffix}")
    write_json(cases, retrieval)
    write_json(output, pairs)
    click.echo(f"{similar} similar and {len(pairs) - similar} dissimilar pairs  {output}")
    counts = f"{len(retrieval['cases'])} cases over {len(retrieval['documents'])} verses"
    click.echo(f"{counts}  {cases}")


def _place(vbt: Path | None, folder: Path | None) -> Path:
    if (vbt is None) == (folder is None):
        raise CftError("--vbt: give either a corpus by --vbt or its folder by --sa-embedding-path")
    return vbt or folder  # type: ignore[return-value]


def _show(made: Any, verses: int) -> None:
    from rich.console import Console
    from rich.table import Table

    sizes = made.manifest["domain_sizes"]
    table = Table(title=f"{len(made.triplets)} triplets of {made.manifest['verses']} verses")
    table.title_justify = "left"
    table.add_column("strategy")
    table.add_column("triplets", justify="right")
    for name, count in made.strategies.items():
        table.add_row(f"{name} {_STRATEGIES[name]}", str(count))
    console = Console(width=100)
    console.print(table)
    held_out = verses - made.manifest["verses"]
    console.print(f"domains: {len(sizes)}, of {', '.join(map(str, sizes)) or 'no'} verses")
    console.print(f"verses in no domain: {made.domains.unpaired}; held out: {held_out}")


_STRATEGIES = {
    "A": "similarity pairs",
    "B": "pairs within a domain",
    "C": "Sanskrit to English",
    "D": "English to Sanskrit",
}
