"""One model on the suites: figures, a page for each suite, everything in MLflow."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from cft.evaluation.result import load_result
from cft.evaluation.table import rich_table, verdict
from cft.files import write_json
from cft.home import Home
from cft.recipe import flattened
from cft.tracking.lineage import code_version
from cft.tracking.runs import PENDING, Tracking
from flows.console import end_on_signals, use_terminal
from flows.forms import EvaluateSettings
from flows.hooks import hooks
from flows.summary import console_of, mlflow_lines, prefect_lines, step_lines
from tasks.steps import Steps
from tasks.suites import (
    Candidate,
    Question,
    pinned,
    report_suite,
    run_suite,
    track_report,
    track_suite,
)

BASE = "base"  # the column of the model that is compared with


@flow(name="evaluate", flow_run_name="{settings.model}", **hooks())
def evaluate(settings: EvaluateSettings) -> dict[str, Any]:
    """Score a model on suites, and compare it with another where one is named.

    Args:
        settings: the model, the suites, and what it is compared with.

    Returns:
        References to all that was made: folders, pages, run ids, the steps. The same stands in
        `result.json` in the run directory.
    """
    evaluation = settings.evaluation
    started = time.perf_counter()
    home, job, steps = Home.from_environment(), str(flow_run.id), Steps()
    here, code = home.runs / job, code_version()
    questions = [Question(suite, settings.pairs) for suite in settings.suites]
    for question in questions:
        question.asked()  # a missing file is told before any model is loaded
    model, base = _pinned_once(home, here / "models.json", settings.model, settings.base)
    candidates = [Candidate(BASE, base, device=settings.device)] if base else []
    ours = Candidate(
        "model",
        model,
        backbone=settings.backbone,
        adapter=settings.adapter,
        device=settings.device,
        contaminated=settings.contaminated,
    )
    candidates.append(replace(ours, title=title_of(model, settings.adapter)))
    tags = {"code_digest": code["digest"], "git_commit": code.get("git_commit")}
    tracked = Tracking.open(home, settings.tracking.experiment, settings.tracking.wait_seconds)
    evaluations: dict[str, dict[str, str]] = {}
    pages: dict[str, str] = {}
    summary: str | None = None
    with tracked.run(
        f"evaluate {candidates[-1].title}",
        role="evaluate",
        job=job,
        tags=tags | {"flow_run_id": job, "base": base},
        params=flattened(evaluation, "evaluation.") | {"suites": ",".join(settings.suites)},
    ) as run:
        for question in questions:
            folders: dict[str, str] = {}
            for candidate in candidates:
                name = f"{question.suite} {candidate.title}"
                first = next(iter(folders.values()), None)
                folders[candidate.title] = steps.do(
                    name, run_suite, question, candidate, evaluation, first
                )
            last = candidates[-1]
            steps.do(
                f"track {question.suite}", track_suite, run, last.reference, folders[last.title]
            )
            facts = {"Model": model, "MLflow run": run.id or PENDING, "Flow run": job}
            page = steps.do(
                f"report {question.suite}",
                report_suite,
                question,
                folders,
                str(here / question.suite),
                evaluation,
                facts,
                {},
            )
            steps.do(f"keep {question.suite}", track_report, run, question.suite, page)
            evaluations[question.suite], pages[question.suite] = folders, page
        if settings.benchmarks:
            # Here, not above: mteb takes seconds to import, and most runs ask for none of it.
            from tasks.benchmarks import run_benchmark, track_benchmark

            summary = steps.do(
                "benchmarks",
                run_benchmark,
                settings.benchmarks,
                candidates[-1],
                evaluation,
                settings.benchmark_data,
                str(here / "mteb"),
            )
            steps.do("track benchmarks", track_benchmark, run, summary)
    result = {
        "flow_run_id": job,
        "mlflow_run_id": run.id,
        "mlflow_experiment_id": run.experiment_id,
        "run_directory": str(here),
        "evaluations": evaluations,
        "pages": pages,
        "benchmarks": summary,
        "steps": steps.to_json(),
        "reused": steps.reused,
        "seconds": round(time.perf_counter() - started, 1),
    }
    write_json(here / "result.json", result)
    return result


def _pinned_once(home: Home, record: Path, model: str, base: str | None) -> tuple[str, str | None]:
    """Both models with their aliases resolved, as the first attempt of this flow run found them."""
    if record.exists():
        known = json.loads(record.read_text(encoding="utf-8"))
        return known["model"], known["base"]
    found = pinned(home, model), pinned(home, base) if base else None
    write_json(record, {"model": found[0], "base": found[1]})
    return found


def title_of(model: str, adapter: str | None = None) -> str:
    """A short name of a model in tables: the last parts of its reference."""
    if model.startswith("models:/"):
        return model.removeprefix("models:/")
    parts = Path(adapter or model).absolute().parts
    # The column of the base is called so already, and a run's folder says more than "adapter".
    return "/".join(parts[-2:]) if parts[-1] in ("adapter", BASE) else parts[-1]


def run_and_show(settings: EvaluateSettings) -> dict[str, Any]:
    """Run the flow in this process and print its tables, its pages and how to open both UIs."""
    use_terminal()
    end_on_signals()
    result = evaluate(settings)
    console, home = console_of(), Home.from_environment()
    for suite, folders in result["evaluations"].items():
        found = {name: load_result(Path(folder)).evaluation for name, folder in folders.items()}
        console.print(rich_table(found, title=suite))
        lines = [verdict(found), ""] if len(found) > 1 else [""]
        for line in [*lines, f"Report       {result['pages'][suite]}", ""]:
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    if result["benchmarks"]:
        table = Path(result["benchmarks"]).with_suffix(".md").read_text(encoding="utf-8")
        console.print(table, soft_wrap=True, markup=False, highlight=False)
    for line in [
        *step_lines(result),
        "",
        *prefect_lines(result, home),
        *mlflow_lines(result, home),
    ]:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return result
