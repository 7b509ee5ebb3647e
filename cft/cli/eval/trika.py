"""``cft eval trika``: an encoder on held-out verses of the Trika."""

from pathlib import Path
from typing import Any

import click

from cft.cli.eval.flags import (
    contamination_options,
    encoder_options,
    finished,
    is_contaminated,
    opened,
    output_option,
    result_folder,
    scoring,
    scoring_options,
)
from cft.cli.options import RecipeCommand


@click.command("trika", cls=RecipeCommand)
@encoder_options
@click.option(
    "--eval-data", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="A Python module of verses, read as literals and never executed.  [default: the 77 "
    "sutras and 53 verses that come with this package]",
)  # fmt: skip
@click.option(
    "--base", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Result of the base model on the same verses: adds the drift from it.",
)  # fmt: skip
@contamination_options
@output_option("trika")
@scoring_options
def command(
    eval_data: Path | None, base: Path | None, output_dir: Path | None, **flags: Any
) -> None:
    """Retrieval both ways, graded pairs, triplets, geometry and hubs on verses no training saw.

    Failures and nearest neighbours, verse by verse, are in DIR/details.json.

    \b
    Examples
      cft eval trika --model-path pretrained/sarvam-1 --output_dir eval/base
      cft eval trika --adapter_path train/output/RUN/adapter --base eval/base
      cft eval trika --model_path sentence-transformers/LaBSE --eval_data trika.py
    """
    from cft.corpora.trika import load_trika, read_trika_module
    from cft.evaluation.result import load_result
    from cft.evaluation.suites.trika import SUITE, run

    folder = result_folder(SUITE, output_dir)
    corpus = load_trika() if eval_data is None else read_trika_module(eval_data)
    before = None if base is None else load_result(base)
    named = (flags["model_path"], flags["adapter_path"])
    contaminated = is_contaminated(flags, SUITE, list(corpus.texts.values()), named)
    encoder = opened(flags)
    result = run(
        encoder,
        corpus,
        scoring(flags),
        model=encoder.name,
        base=before,
        contaminated=contaminated,
    )
    finished(result, folder)
