"""Off-the-shelf encoders, the base model and ours on one suite: a page, and an MLflow run each."""

import time
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from cft.errors import CftError, one_line
from cft.evaluation.benchmarks.baselines import Baseline, chosen_baselines, load_baselines
from cft.evaluation.result import load_result
from cft.evaluation.table import rich_table
from cft.files import write_json
from cft.home import Home
from cft.recipe import flattened
from cft.tracking.lineage import code_version
from cft.tracking.runs import PENDING, TrackedRun, Tracking
from flows.console import end_on_signals, use_terminal
from flows.forms import BaselinesSettings
from flows.hooks import hooks
from flows.summary import console_of, mlflow_lines, prefect_lines, step_lines
from tasks.steps import Steps
from tasks.suites import (
    FAULTS,
    Candidate,
    Question,
    pinned,
    report_suite,
    run_suite,
    track_report,
    track_suite,
)


@flow(name="baselines", flow_run_name="{settings.suite}", **hooks())
def baselines(settings: BaselinesSettings = BaselinesSettings()) -> dict[str, Any]:  # noqa: B008 (shown in the form)
    """Score models on a suite, the first of them being what the others are compared with.

    A model that cannot be loaded or run is a line that says why, and the others go on.

    Args:
        settings: the models, the suite, and how it is scored.

    Returns:
        References to all that was made, and why what is missing is missing. The same stands in
        `result.json` in the run directory.

    Raises:
        CftError: no model could be run, or a setting names nothing.
    """
    suite, evaluation = settings.suite, settings.evaluation
    started = time.perf_counter()
    home, job, steps = Home.from_environment(), str(flow_run.id), Steps()
    question = Question(suite, settings.pairs)
    question.asked()  # a missing file is told before any model is loaded
    chosen = chosen_baselines(
        settings.models,
        load_baselines(Path(settings.listed) if settings.listed else None),
        model_path=Path(settings.model_path) if settings.model_path else None,
        adapter_path=Path(settings.adapter_path) if settings.adapter_path else None,
    )
    here, code = home.runs / job, code_version()
    tags = {"code_digest": code["digest"], "git_commit": code.get("git_commit")}
    tracked = Tracking.open(home, settings.tracking.experiment, settings.tracking.wait_seconds)
    folders: dict[str, str] = {}
    absent: dict[str, str] = {}
    runs: dict[str, TrackedRun] = {}
    with tracked.run(
        f"baselines {suite}",
        role="baselines",
        job=job,
        tags=tags | {"flow_run_id": job},
        params=flattened(evaluation, "evaluation.")
        | {"suite": suite, "models": ",".join(settings.models)},
    ) as parent:
        for key, one in chosen.items():
            if isinstance(one, str):
                absent[key] = one
                continue
            title = one.title if one.title not in folders else f"{one.title} ({key})"
            try:
                reference = pinned(home, one.model)
                candidate = _candidate(title, one, reference, settings.device)
                folder = steps.do(f"{suite} {key}", run_suite, question, candidate, evaluation)
            except FAULTS as error:
                absent[title] = one_line(error, 300)
                get_run_logger().warning("%s: not evaluated (%s)", title, absent[title])
                continue
            with tracked.run(
                f"{suite} {title}", role=f"model {key}", job=job, parent=parent, tags=tags
            ) as run:
                run.params(_settings(folder, candidate))
                steps.do(
                    f"track {key}", track_suite, run, one.adapter or candidate.reference, folder
                )
            folders[title], runs[title] = folder, run
        parent.tags({f"absent.{name}": why for name, why in absent.items()})
        if not folders:
            why = "; ".join(f"{name}: {said}" for name, said in absent.items())
            raise CftError(f"baselines: no model could be run ({why}); name one that is here")
        facts = {"MLflow run": parent.id or PENDING, "Flow run": job}
        target = str(here / suite)
        page = steps.do(
            "report", report_suite, question, folders, target, evaluation, facts, absent
        )
        steps.do("keep report", track_report, parent, suite, page)
    result = {
        "flow_run_id": job,
        "mlflow_run_id": parent.id,
        "mlflow_experiment_id": parent.experiment_id,
        "model_run_ids": {title: run.id for title, run in runs.items()},
        "run_directory": str(here),
        "suite": suite,
        "evaluations": folders,
        "absent": absent,
        "page": page,
        "steps": steps.to_json(),
        "reused": steps.reused,
        "seconds": round(time.perf_counter() - started, 1),
    }
    write_json(here / "result.json", result)
    return result


def _candidate(title: str, one: Baseline, reference: str, device: str) -> Candidate:
    return Candidate(
        title,
        reference,
        adapter=one.adapter,
        query_prompt=one.query_prompt,
        document_prompt=one.document_prompt,
        device=device,
        trust_remote_code=one.trust_remote_code,
    )


def _settings(folder: str, candidate: Candidate) -> dict[str, str | None]:
    """What decides a baseline's figures beside its weights; null is the model's own prompt."""
    return {
        "model": candidate.reference,
        "adapter": candidate.adapter,
        "query_prompt": candidate.query_prompt,
        "document_prompt": candidate.document_prompt,
        "result": folder,
    }


def run_and_show(settings: BaselinesSettings) -> dict[str, Any]:
    """Run the flow in this process and print its table, who is missing, and how to open it."""
    use_terminal()
    end_on_signals()
    result = baselines(settings)
    console, home = console_of(), Home.from_environment()
    found = {name: load_result(Path(one)).evaluation for name, one in result["evaluations"].items()}
    console.print(rich_table(found, title=result["suite"]))
    lines = [f"{name} was not evaluated: {why}" for name, why in result["absent"].items()]
    lines += ["", f"Report       {result['page']}", "", *step_lines(result), ""]
    for line in [*lines, *prefect_lines(result, home), *mlflow_lines(result, home)]:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return result
