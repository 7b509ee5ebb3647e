"""One stage of a recipe by itself: prepared, trained, evaluated, kept in MLflow, not registered."""

import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from cft.errors import CftError
from cft.files import write_json
from cft.home import Home
from cft.tracking.lineage import code_version
from cft.tracking.runs import PENDING
from cft.triplets.manifest import contamination_note, load_manifest
from flows.forms import TrainSettings
from flows.hooks import hooks
from flows.place import place_for
from flows.prepare import prepared
from tasks.data import require_full_batches
from tasks.evaluate import evaluate_model, evaluation_folder
from tasks.steps import Steps
from tasks.track import draw_plots, log_model, publish_report, track_results, two_stage_run
from tasks.train import train_spec, train_stage

START = "start"  # the column of the adapter that the stage began at


@flow(name="train", flow_run_name="{settings.recipe.name} {settings.stage}", **hooks())
def train(settings: TrainSettings = TrainSettings()) -> dict[str, Any]:  # noqa: B008 (shown in the form)
    """Train one stage of a recipe and say what it gained; no version is registered.

    Args:
        settings: the recipe, the stage, and the adapter that it begins at.

    Returns:
        References to all that was made: folders, the run id, the steps. The same stands in
        `result.json` in the run directory.

    Raises:
        CftError: a source, the backbone or the adapter cannot be used.
    """
    started = time.perf_counter()
    recipe, stage, begin = settings.recipe, settings.stage, starting_adapter(settings.init_adapter)
    home, job, code, steps = Home.from_environment(), str(flow_run.id), code_version(), Steps()
    here = home.runs / job
    made = prepared(recipe, home, steps)
    corpus, backbone = made.corpus, made.backbone
    stores = {str(stage): made.stores[stage]}
    if settings.machine.kind == "local":
        require_full_batches(recipe, stores)

    def evaluated(model: str, adapter: Path | None) -> Path:
        target = evaluation_folder(home, recipe, corpus, backbone, adapter, model)
        weights = str(adapter) if adapter else None
        arguments = (recipe, str(corpus), str(backbone), weights, model)
        return steps.reuse(f"evaluate {model}", evaluate_model, target, *arguments)

    with two_stage_run(home, recipe, job, corpus, backbone, code, role=stage) as tracked:
        run = tracked.parent
        run.tags({"stage": stage, "init_adapter": str(begin) if begin else None})
        evaluations = {"base": evaluated("base", None)}
        if begin:
            evaluations[START] = evaluated(START, begin)
        with place_for(settings.machine, recipe, home, job, steps, run, stores) as place:
            spec = train_spec(
                recipe,
                stage,
                store=made.stores[stage],
                backbone=backbone,
                init_adapter=begin,
                data_digest=corpus.name,
                code=code,
                place=place,
            )
            folder = str(here / stage)
            adapter = Path(steps.do(f"train {stage}", train_stage, spec, folder, run, place))
        steps.do(f"log {stage}", log_model, run, str(adapter), str(backbone))
        evaluations[stage] = evaluated(stage, adapter)
        results = str(here / "results")
        plots = steps.do("plots", draw_plots, results, {stage: here / stage}, evaluations)
        steps.do("track", track_results, tracked, evaluations, plots)
        record = {
            "seconds": round(time.perf_counter() - started, 1),
            "steps": {step.name: step.seconds for step in steps.done if not step.reused},
            "reused": steps.reused,
            "facts": {
                "Registered": "nothing: one stage by itself",
                "MLflow run": run.id or PENDING,
                "Flow run": job,
                "Run directory": str(here),
            },
        }
        report, page = publish_report(tracked, recipe, evaluations, results, record, str(corpus))
    result = {
        "flow_run_id": job,
        "mlflow_run_id": run.id,
        "mlflow_experiment_id": run.experiment_id,
        "tracking_pending": run.pending,
        "stage": stage,
        "run_directory": str(here),
        "corpus": str(corpus),
        "contamination": contamination_note(load_manifest(corpus)),
        "backbone": str(backbone),
        "adapter": str(adapter),
        "evaluations": {model: str(path) for model, path in evaluations.items()},
        "report": report,
        "page": page,
        "plots": plots,
        "steps": steps.to_json(),
        "reused": steps.reused,
        "seconds": record["seconds"],
    }
    write_json(here / "result.json", result)
    return result


def starting_adapter(given: str | None) -> Path | None:
    """The folder of the adapter that a stage begins at, looked at before any work.

    Raises:
        CftError: there is none.
    """
    if given is None:
        return None
    folder = Path(given).expanduser().absolute()
    if not (folder / "adapter_config.json").is_file():
        raise CftError(f"init_adapter: {given} holds no adapter; name a folder such as RUN/adapter")
    return folder
