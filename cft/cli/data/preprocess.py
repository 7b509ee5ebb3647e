"""``cft data preprocess``: a file of triplets becomes a tokenised store."""

from pathlib import Path
from typing import Any

import click

from cft.cli.options import RecipeCommand, apply_flags, leaves, options_for
from cft.cli.recipes import find_recipe
from cft.errors import CftError
from cft.recipe import ModelRecipe

_OFFERED = {"backbone", "max_length", "query_prompt", "document_prompt", "trust_remote_code"}
LEAVES = tuple(one for one in leaves(ModelRecipe, ("model",)) if one.path[1] in _OFFERED)


@click.command(cls=RecipeCommand)
@click.option(
    "--input-csv", "--input", "source", type=click.Path(path_type=Path), required=True,
    metavar="FILE", help="Triplets: .csv, .tsv, .jsonl or .parquet.",
)  # fmt: skip
@click.option(
    "--output-dir", "folder", type=click.Path(path_type=Path), metavar="DIR",
    help="The store to write.  [default: processed, with --num-rows processed_pilot]",
)  # fmt: skip
@click.option("--num-rows", type=click.IntRange(min=1), metavar="N", help="The first N rows only.")
@click.option(
    "--recipe", default="sarvam", show_default=True, metavar="NAME|FILE",
    help="Whose tokenizer, longest text and prompts to take.",
)  # fmt: skip
@options_for(LEAVES, {"--backbone": ["--tokenizer-path"]})
def command(
    source: Path, folder: Path | None, num_rows: int | None, recipe: str, **flags: Any
) -> None:
    """Tokenise a file of triplets, each distinct text once, into a store that `cft train` reads.

    Columns: sent0, sent1, hard_neg; or anchor, positive, negative (several: negative_1,
    negative_2, or a list under negatives); or query, pos, neg; or question, answer, negative.
    Memory does not grow with the file. Of a backbone its tokenizer suffices
    (`cft model fetch sarvam-1 --tokenizer-only`).

    \b
    Examples
      cft data preprocess --input-csv nli_for_simcse.csv
      cft data preprocess --input-csv nli_for_simcse.csv --num-rows 1000
      cft data preprocess --input-csv mine.parquet --tokenizer-path pretrained/qwen \\
                          --max-length 256 --output-dir processed_mine
    """
    from cft.triplets.preprocess import preprocess

    settings = apply_flags(find_recipe(recipe), flags, LEAVES).model
    if settings.backbone is None:
        raise CftError("--tokenizer-path: missing; give the folder of a tokenizer")
    if not Path(settings.backbone).expanduser().is_dir():
        raise CftError(
            f"--tokenizer-path: {settings.backbone}: no such folder; give one, or fetch it "
            "(`cft model fetch sarvam-1 --tokenizer-only`)"
        )
    default = "processed" if num_rows is None else "processed_pilot"
    click.echo(preprocess(source, folder or Path(default), settings, num_rows))
