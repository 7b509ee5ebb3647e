"""``cft eval mteb-sts|mteb-retrieval|mteb-bitext``: an encoder on tasks of mteb."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cft.cli.eval.flags import encoder_options, opened
from cft.cli.eval.tracked import log_summary, opened_tracking, with_tracking_options
from cft.cli.options import ListOption, RecipeCommand
from cft.errors import CftError


def _benchmark_options(languages: str) -> Callable[[Any], Any]:
    options = (
        click.option(
            "--tasks", cls=ListOption, metavar="A,B or A B",
            help="Tasks by name, of mteb or ours: TrikaRetrieval, TrikaSTS, HeldOutRetrieval, "
            "HeldOutSTS.  [default: those of this verb]",
        ),
        click.option(
            "--data", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
            help="Read tasks from here: DIR/TASK/[SUBSET/]SPLIT.tsv (or .parquet, .jsonl); for "
            "retrieval corpus, queries and qrels/SPLIT, as BEIR has them.",
        ),
        click.option(
            "--hub/--no-hub", default=None,
            help="Fetch tasks that DIR lacks.  [default: only where --data is not given]",
        ),
        click.option(
            "--languages", cls=ListOption, metavar="A,B", default=languages, show_default=True,
            help="Subsets all of whose languages are among these; all for every subset.",
        ),
        click.option(
            "--splits", cls=ListOption, metavar="A,B", help="Splits.  [default: the task's own]"
        ),
        click.option(
            "--eval-set", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
            help="Evaluation set (JSON) of HeldOutRetrieval and HeldOutSTS.",
        ),
        click.option(
            "--output-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
            default=Path("eval/mteb"), show_default=True,
            help="Results in mteb's format; what is there already is not run again.",
        ),
        click.option(
            "--eval-batch-tokens", type=click.IntRange(min=64), default=8192, show_default=True,
            metavar="N", help="Tokens encoded at once.",
        ),
    )  # fmt: skip

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command("mteb-sts", cls=RecipeCommand)
@encoder_options
@_benchmark_options("eng")
@with_tracking_options
def sts_command(**flags: Any) -> None:
    """Ten English STS tasks: BIOSSES, SICK-R, STS12 to STS17, STS22 and STSBenchmark.

    A task whose data is not there is reported as not run. The same call again goes on where it
    was stopped.

    \b
    Examples
      cft eval mteb-sts --model-path pretrained/sarvam-1 --adapter_path RUN/adapter
      cft eval mteb-sts --model_path sentence-transformers/LaBSE --data DIR --tasks STS17,STS22
      cft eval mteb-sts --model-path MODEL --tasks TrikaSTS --no-track
    """
    _benchmark("sts", flags)


@click.command("mteb-retrieval", cls=RecipeCommand)
@encoder_options
@_benchmark_options("eng")
@with_tracking_options
def retrieval_command(**flags: Any) -> None:
    """Twenty-six English retrieval tasks: ndcg@10, map@100, mrr@100 and recall@100.

    ArguAna, ClimateFEVER, the twelve CQADupstack sets, DBPedia, FEVER, FiQA2018, HotpotQA,
    MSMARCO, NFCorpus, NQ, QuoraRetrieval, SCIDOCS, SciFact, Touche2020 and TRECCOVID.

    \b
    Examples
      cft eval mteb-retrieval --model-path RUN --tasks SciFact,NFCorpus --cache vectors
      cft eval mteb-retrieval --model_path MODEL --data beir --splits test
      cft eval mteb-retrieval --model-path MODEL --tasks TrikaRetrieval --no-track
    """
    _benchmark("retrieval", flags)


@click.command("mteb-bitext", cls=RecipeCommand)
@encoder_options
@_benchmark_options("san,eng")
@with_tracking_options
def bitext_command(**flags: Any) -> None:
    """Sanskrit-English bitext mining both ways: FLORES, IN22 general and spoken, BibleNLP.

    \b
    Examples
      cft eval mteb-bitext --model-path RUN
      cft eval mteb-bitext --model_path BAAI/bge-m3 --data DIR --tasks IN22GenBitextMining
    """
    _benchmark("bitext", flags)


def _benchmark(benchmark: str, flags: dict[str, Any]) -> None:
    from rich.console import Console

    from cft.evaluation.benchmarks.run import result_files, run_tasks
    from cft.evaluation.benchmarks.table import benchmark_rich_table, benchmark_table
    from cft.evaluation.benchmarks.tasks import BENCHMARKS, requests
    from cft.evaluation.mteb_encoder import MtebEncoder
    from cft.files import digest_json, write_atomic

    languages = _words(flags.pop("languages"))
    wanted = requests(
        _words(flags.pop("tasks")) or list(BENCHMARKS[benchmark]),
        () if languages == ["all"] else languages,
        _words(flags.pop("splits")),
        flags.pop("eval_set"),
    )
    data, hub, output = (flags.pop(name) for name in ("data", "hub", "output_dir"))
    batch_tokens, run_name = flags.pop("eval_batch_tokens"), flags.pop("run_name")
    tracking = opened_tracking(flags.pop("track"), flags.pop("experiment"))
    encoder = opened(flags)
    model = MtebEncoder(encoder, batch_tokens=batch_tokens)
    result = run_tasks(model, wanted, benchmark=benchmark, output=output, data=data, hub=hub)
    files = result_files(result, output)
    folder = output / "summaries" / result.model.replace("/", "__") / result.revision
    summary = folder / f"{benchmark}.md"
    write_atomic(summary, f"# {benchmark}: {result.model}\n\n{benchmark_table(result)}")
    write_atomic(summary.with_suffix(".json"), result.model_dump_json(indent=2) + "\n")
    console = Console()
    table = benchmark_rich_table(result)
    Console(width=None if console.is_terminal else 120).print(table)
    tasks = [row.task for row in result.rows]
    log_summary(
        tracking,
        name=run_name or f"mteb-{benchmark} {result.model}",
        job=digest_json(["mteb", benchmark, result.model, result.revision, sorted(tasks)]),
        metrics=result.metrics(),
        params={
            "benchmark": benchmark,
            "model": result.model,
            "revision": result.revision,
            "query_prompt": encoder.query_prompt,
            "document_prompt": encoder.document_prompt,
            "tasks": tasks,
        },
        tags={
            "cft.not_run": ",".join(row.task for row in result.rows if row.state == "not run"),
        },
        summary=summary,
        files=files,
    )
    click.echo(os.fspath(summary))
    if all(row.state == "not run" for row in result.rows):
        raise CftError(f"mteb-{benchmark}: no task was run; the reasons are in {summary}")


def _words(given: str | None) -> list[str]:
    return (given or "").replace(",", " ").split()
