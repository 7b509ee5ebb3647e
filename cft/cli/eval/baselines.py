"""``cft eval baselines``: off-the-shelf encoders, the base model and ours, side by side."""

from pathlib import Path
from typing import Any

import click

from cft.cli.eval.flags import scoring, scoring_options
from cft.cli.eval.tracked import log_summary, opened_tracking, with_tracking_options
from cft.cli.options import ListOption, RecipeCommand
from cft.errors import CftError


@click.command("baselines", cls=RecipeCommand)
@click.option(
    "--models", cls=ListOption, metavar="A,B or A B", default="all", show_default=True,
    help="labse, multilingual-e5-large, bge-m3, vyakyarth, base, ours, a folder, OWNER/NAME, all.",
)  # fmt: skip
@click.option(
    "--model-path", type=click.Path(path_type=Path), metavar="DIR",
    help="The base model, by itself and under the adapter.",
)  # fmt: skip
@click.option(
    "--adapter-path", type=click.Path(path_type=Path), metavar="DIR",
    help="Our adapter. Without --model-path: on the backbone that it was trained on.",
)  # fmt: skip
@click.option(
    "--baselines", "listed", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="YAML of models and their prompts.  [default: the list of this package]",
)  # fmt: skip
@click.option(
    "--eval-data", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="A Python module of verses, read as literals and never executed.  [default: the 77 "
    "sutras and 53 verses that come with this package]",
)  # fmt: skip
@click.option(
    "--device", default="auto", show_default=True, metavar="DEVICE",
    help="auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:1, mps.",
)  # fmt: skip
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Keep vectors here, and take them from here.",
)  # fmt: skip
@click.option(
    "--output-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    default=Path("eval/baselines"), show_default=True,
    help="Where results go; what is there already is not run again.",
)  # fmt: skip
@scoring_options
@with_tracking_options
def command(
    models: str, model_path: Path | None, adapter_path: Path | None, listed: Path | None,
    eval_data: Path | None, device: str, cache: Path | None, output_dir: Path, track: bool,
    experiment: str, run_name: str | None, **flags: Any,
) -> None:  # fmt: skip
    """Retrieval both ways, STS, triplets and anisotropy of each model on held-out Trika verses.

    A model that cannot be loaded is a row that says why. Prompts are in the list of models.

    \b
    Examples
      cft eval baselines --model-path pretrained/sarvam-1 --adapter_path RUN/adapter
      cft eval baselines --models labse,bge-m3 --device cuda --no-track
      cft eval baselines --models base ours path/to/a/model --model_path DIR --adapter_path DIR
    """
    from rich.console import Console

    from cft.corpora.trika import load_trika, read_trika_module
    from cft.evaluation.benchmarks.baseline_table import (
        baseline_metrics,
        baseline_rich_table,
        baseline_table,
    )
    from cft.evaluation.benchmarks.baselines import chosen_baselines, load_baselines, run_baselines
    from cft.files import digest_json, write_atomic

    chosen = chosen_baselines(
        models.replace(",", " ").split(),
        load_baselines(listed),
        model_path=model_path,
        adapter_path=adapter_path,
    )
    corpus = load_trika() if eval_data is None else read_trika_module(eval_data)
    recipe = scoring(flags)
    tracking = opened_tracking(track, experiment)
    rows = run_baselines(chosen, corpus, recipe, output=output_dir, device=device, cache=cache)
    summary = output_dir / "baselines.md"
    write_atomic(summary, f"# Baselines on {corpus.name}\n\n{baseline_table(rows)}")
    console = Console()
    Console(width=None if console.is_terminal else 120).print(baseline_rich_table(rows))
    log_summary(
        tracking,
        name=run_name or f"baselines {corpus.name}",
        job=digest_json(
            ["baselines", corpus.source, [row.model_dump(mode="json") for row in rows]]
        ),
        metrics=baseline_metrics(rows),
        params={
            f"{row.key}.{name}": getattr(row, name)
            for row in rows
            for name in ("model", "query_prompt", "document_prompt")
        },
        tags={"cft.not_run": ",".join(row.key for row in rows if row.evaluation is None)},
        summary=summary,
    )
    click.echo(summary)
    if all(row.evaluation is None for row in rows):
        raise CftError(f"baselines: no model could be run; the reasons are in {summary}")
