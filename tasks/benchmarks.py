"""Public benchmarks on any encoder: mteb's own result files, and their scores in MLflow."""

import json
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from cft.files import write_atomic, write_json
from cft.home import Home
from cft.recipe import EvalRecipe
from cft.tracking.runs import TrackedRun
from tasks.retries import ON_NETWORK
from tasks.suites import Candidate

BENCHMARK = "tasks"


@task(name="run-benchmark", cache_policy=NO_CACHE)
def run_benchmark(
    names: list[str], candidate: Candidate, recipe: EvalRecipe, data: str | None, folder: str
) -> str:
    """Score a model on tasks by name; those that are done for these weights are not run again.

    A task without data is a row that says so. The subsets are those that the commands ``mteb-sts``,
    ``mteb-retrieval`` and ``mteb-bitext`` take, since the scores have the same names.

    Args:
        names: tasks of mteb, or ours.
        candidate: the model.
        recipe: of it, the tokens of a batch.
        data: folder of local data; without it tasks are fetched.
        folder: where the summary goes; also an artifact of the flow run.

    Returns:
        The summary as JSON.
    """
    from cft.evaluation.benchmarks.run import result_files, run_tasks
    from cft.evaluation.benchmarks.table import benchmark_table
    from cft.evaluation.benchmarks.tasks import requests
    from cft.evaluation.mteb_encoder import MtebEncoder

    home = Home.from_environment()
    output = home.evaluations / "mteb"
    model = MtebEncoder(candidate.open(home), batch_tokens=recipe.batch_tokens)
    place = Path(data) if data else None
    result = run_tasks(model, requests(names, None), benchmark=BENCHMARK, output=output, data=place)
    markdown = f"# Benchmarks: {candidate.title}\n\n{benchmark_table(result)}"
    write_atomic(Path(folder) / "benchmarks.md", markdown)
    files = {name: str(path) for name, path in result_files(result, output).items()}
    summary = Path(folder) / "benchmarks.json"
    write_json(summary, {"result": result.model_dump(mode="json"), "files": files})
    create_markdown_artifact(markdown, key="benchmarks", description=candidate.title)
    return str(summary)


@task(name="track-benchmark", cache_policy=NO_CACHE, **ON_NETWORK)
def track_benchmark(run: TrackedRun, summary: str) -> None:
    """Log the scores as ``mteb/<task>/<score>``, the table, and mteb's own files."""
    from cft.evaluation.benchmarks.result import BenchmarkResult

    found = json.loads(Path(summary).read_text(encoding="utf-8"))
    result = BenchmarkResult.model_validate(found["result"])
    run.metrics(result.metrics())
    run.file(Path(summary).with_suffix(".md"), "mteb")
    for path in found["files"].values():
        run.file(Path(path), "mteb/results")
