"""``cft data mine``: hard negatives for rows of an anchor and a positive."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cft.cli.data.flags import encoder_options
from cft.cli.options import RecipeCommand, leaves, options_for
from cft.errors import CftError
from cft.mining.settings import MiningSettings, mining_settings

if TYPE_CHECKING:
    from cft.mining.mine import Engine
    from cft.mining.question import Pairs

LEAVES = tuple(leaves(MiningSettings, ("mining",)))


@click.command("mine", cls=RecipeCommand)
@click.option(
    "--input", "given", required=True, type=click.Path(path_type=Path), metavar="PATH",
    help="Pairs or triplets as a file, a folder of prepared data, or a tokenised store.",
)  # fmt: skip
@click.option(
    "--stage", type=click.Choice(["stage1", "stage2"]), default="stage1", show_default=True,
    help="Of prepared data: whose triplets.",
)  # fmt: skip
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Triplets to write: .jsonl, .parquet, .csv or .tsv.",
)  # fmt: skip
@encoder_options(
    "Causal LM that encodes the texts.",
    "Its trained adapter: a backbone alone hardly tells texts apart.",
)
@options_for(LEAVES)
def command(
    given: Path, stage: str, output: Path, backbone: Path | None, adapter: Path | None,
    device: str, trust_remote_code: bool, **flags: Any,
) -> None:  # fmt: skip
    """Find hard negatives for every row, by an encoder or by shared words.

    Candidates are the positives and negatives of the input. A candidate is kept when its score is
    at most (1 - margin) times that of the row's own positive, so that a text which answers as well
    is not taken for a wrong answer; known positives are never taken. With bm25 a row whose anchor
    shares no word with its positive (a translation) asks with the positive instead. Rows with too
    few candidates are left out and counted in OUTPUT's report.

    A job that was killed goes on where it stopped when it is started again.

    \b
    Examples
      cft data mine --input triplets.csv --output mined.jsonl --method bm25
      cft data mine --input data/ --stage stage1 --output mined.parquet \\
                    --backbone pretrained/sarvam-1 --adapter run/adapter --num-negatives 4
      cft train --train-data-path mined.jsonl --model-name-or-path pretrained/sarvam-1
    """
    from cft.mining.mine import mine, report_path
    from cft.mining.output import require_writable_kind

    settings = mining_settings({leaf.path[-1]: flags[leaf.parameter] for leaf in LEAVES})
    require_writable_kind(output)
    engine = _engine(settings, backbone, adapter, device, trust_remote_code)
    report = mine(_pairs(given, stage), engine, settings, output)
    _show(report)
    click.echo(f"report: {report_path(output)}", err=True)
    click.echo(output)


def _engine(
    settings: MiningSettings, backbone: Path | None, adapter: Path | None, device: str,
    trust_remote_code: bool,
) -> "Engine":  # fmt: skip
    if settings.method == "bm25":
        from cft.mining.lexical import LexicalEngine

        if backbone or adapter:
            raise CftError(
                f"{'--backbone' if backbone else '--adapter'}: BM25 uses no model; leave it out, "
                "or mine with --method encoder"
            )
        return LexicalEngine()
    from cft.mining.dense import DenseEngine

    if backbone is None:
        raise CftError(
            "--backbone: missing; give the folder of a causal LM, or mine by words with "
            "--method bm25"
        )
    return DenseEngine(backbone, adapter, device, trust_remote_code)


def _pairs(given: Path, stage: str) -> "Pairs":
    from cft.mining.dataset import open_pairs

    return open_pairs(given, stage)


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report['rows_written']:,} of {report['rows']:,} rows")
    table.add_column("score of the anchor with")
    table.add_column("mean", justify="right")
    table.add_column("std", justify="right")
    names = {
        "positive": "its positive",
        "mined": "its mined negatives",
        "given": "the negatives that it came with",
        "random": "a random candidate",
    }
    for name, label in names.items():
        if one := report["score"][name]:
            table.add_row(label, f"{one['mean']:.4f}", f"{one['std']:.4f}")
    Console(stderr=True).print(table)
