"""``cft eval sanskrit-sts``: an encoder on labelled pairs of the Vijnanabhairava."""

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


@click.command("sanskrit-sts", cls=RecipeCommand)
@encoder_options
@click.option(
    "--eval-data", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    default=Path("data/vbt_eval.json"), show_default=True,
    help="Pairs as `cft data vbt-eval` writes them: text_a, text_b, label.",
)  # fmt: skip
@click.option(
    "--retrieval-data", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Retrieval cases.  [default: the file that `cft data vbt-eval` wrote beside the pairs]",
)  # fmt: skip
@contamination_options
@output_option("sanskrit-sts")
@scoring_options
def command(
    eval_data: Path, retrieval_data: Path | None, output_dir: Path | None, **flags: Any
) -> None:
    """Tell similar from dissimilar pairs, and find the verses that a query means.

    \b
    Examples
      cft eval sanskrit-sts --eval_data vbt_eval.json --model_path pretrained/sarvam-1
      cft eval sanskrit-sts --eval_data vbt_eval.json --adapter_path train/output/RUN/adapter
    """
    from cft.evaluation.suites.sanskrit_sts import SUITE, read_sanskrit_sts, run

    folder = result_folder(SUITE, output_dir)
    asked = read_sanskrit_sts(eval_data, retrieval_data)
    named = (flags["model_path"], flags["adapter_path"])
    contaminated = is_contaminated(flags, SUITE, asked.texts(), named)
    encoder = opened(flags)
    result = run(encoder, asked, scoring(flags), model=encoder.name, contaminated=contaminated)
    finished(result, folder)
