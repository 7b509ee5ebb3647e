"""The main job: from texts to a registered embedder, in two stages of contrastive training."""

import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from cft.files import write_json
from cft.home import Home
from cft.recipe import Recipe
from cft.tracking.lineage import code_version
from cft.tracking.runs import PENDING
from cft.triplets.manifest import contamination_note, load_manifest
from cft.triplets.prepare import STAGES
from flows.console import end_on_signals, use_terminal
from flows.hooks import hooks
from flows.place import place_for
from flows.prepare import Prepared, prepared
from flows.summary import show
from tasks.backbone import given_backbone
from tasks.data import require_full_batches, require_sources
from tasks.evaluate import (
    evaluate_model,
    evaluation_folder,
    measure_similarity,
    similarity_folder,
)
from tasks.machine.settings import MachineSettings
from tasks.steps import Steps
from tasks.track import (
    Trained,
    draw_plots,
    log_model,
    publish_report,
    register_adapter,
    track_results,
    track_similarity,
    two_stage_run,
)
from tasks.train import TrainingError, train_spec, train_stage


@flow(name="two-stage", flow_run_name="{recipe.name}", **hooks())
def two_stage(
    recipe: Recipe = Recipe(),  # noqa: B008 (shown in the form)
    machine: MachineSettings = MachineSettings(),  # noqa: B008 (shown in the form)
) -> dict[str, Any]:
    """Train a Sanskrit-English embedder in two stages and say what it gained.

    Args:
        recipe: every setting; the defaults are those of the original two-stage training.
        machine: where both stages train; all else is done where the flow runs.

    Returns:
        References to all that was made: folders, run ids, the registered version, the steps. The
        same stands in ``result.json`` in the run directory.
    """
    home, job = Home.from_environment(), str(flow_run.id)
    result = run_two_stage(recipe, job, Steps(), machine=machine)
    write_json(home.runs / job / "result.json", result)
    return result


def run_two_stage(
    recipe: Recipe,
    job: str,
    steps: Steps,
    made: Prepared | None = None,
    machine: MachineSettings = MachineSettings(),  # noqa: B008 (frozen)
) -> dict[str, Any]:
    """The steps of :func:`two_stage` within the flow run that is the job.

    Args:
        recipe: every setting.
        job: id of the flow run.
        steps: record of the flow run.
        made: data and backbone, where they were prepared before.
        machine: where both stages train.
    """
    started = time.perf_counter()
    home, code = Home.from_environment(), code_version()
    here = home.runs / job

    made = made or prepared(recipe, home, steps)
    corpus, backbone, stores = made.corpus, made.backbone, made.stores
    if machine.kind == "local":  # of another the ranks are known when it is there
        require_full_batches(recipe, stores)
    target = similarity_folder(home, recipe, corpus, backbone)
    measured = (recipe, str(corpus), str(backbone))
    similarity = steps.reuse("similarity", measure_similarity, target, *measured)

    def evaluated(model: str, adapter: Path | None) -> Path:
        target = evaluation_folder(home, recipe, corpus, backbone, adapter, model)
        weights = str(adapter) if adapter else None
        arguments = (recipe, str(corpus), str(backbone), weights, model)
        return steps.reuse(f"evaluate {model}", evaluate_model, target, *arguments)

    with two_stage_run(home, recipe, job, corpus, backbone, code) as tracked:
        evaluations = {"base": evaluated("base", None)}
        trained: list[Trained] = []
        with place_for(machine, recipe, home, job, steps, tracked.parent, stores) as place:
            for stage in STAGES:
                spec = train_spec(
                    recipe,
                    stage,
                    store=stores[stage],
                    backbone=backbone,
                    init_adapter=trained[-1].adapter if trained else None,
                    data_digest=corpus.name,
                    code=code,
                    place=place,
                )
                with tracked.stage(stage, recipe) as run:
                    track_similarity(tracked, run, stage, str(similarity))
                    folder = str(here / stage)
                    adapter = steps.do(f"train {stage}", train_stage, spec, folder, run, place)
                    model = steps.do(f"log {stage}", log_model, run, adapter, str(backbone))
                trained.append(Trained(stage, run, Path(adapter), model))
        # Nothing is evaluated while a machine waits that is paid by the minute.
        for one in trained:
            evaluations[one.stage] = evaluated(one.stage, one.adapter)

        results = here / "results"
        folders = {stage: here / stage for stage in STAGES}
        plots = steps.do("plots", draw_plots, str(results), folders, evaluations)
        steps.do("track", track_results, tracked, evaluations, plots)
        last = str(evaluations[trained[-1].stage])
        version = steps.do("register", register_adapter, tracked, recipe, trained, last)
        name = recipe.tracking.model_name
        record = {
            "seconds": round(time.perf_counter() - started, 1),
            "steps": {step.name: step.seconds for step in steps.done if not step.reused},
            "reused": steps.reused,
            "facts": {
                "Registered": f"{name} version {version or PENDING}, alias candidate",
                "MLflow run": tracked.parent.id or PENDING,
                "Flow run": job,
                "Run directory": str(here),
            },
        }
        report, page = publish_report(
            tracked, recipe, evaluations, str(results), record, str(corpus)
        )
    return {
        "flow_run_id": job,
        "mlflow_run_id": tracked.parent.id,
        "mlflow_experiment_id": tracked.parent.experiment_id,
        "tracking_pending": tracked.parent.pending,
        "stage_run_ids": {one.stage: one.run.id for one in trained},
        "model": name,
        "version": version or trained[-1].run.version,
        "run_directory": str(here),
        "corpus": str(corpus),
        "contamination": contamination_note(load_manifest(corpus)),
        "backbone": str(backbone),
        "adapters": {one.stage: str(one.adapter) for one in trained},
        "evaluations": {model: str(path) for model, path in evaluations.items()},
        "report": report,
        "page": page,
        "plots": plots,
        "steps": steps.to_json(),
        "reused": steps.reused,
        "seconds": record["seconds"],
    }


def run_and_show(
    recipe: Recipe,
    machine: MachineSettings = MachineSettings(),  # noqa: B008 (frozen)
) -> dict[str, Any]:
    """Run the flow in this process and print its table and how to open both UIs on it.

    Exits with code 1, after the last lines of its log, when a training process failed. SIGTERM
    and the loss of the terminal end it as Ctrl-C does: nothing that it started is left behind.
    """
    use_terminal()
    end_on_signals()
    require_sources(recipe.data)
    if recipe.model.backbone:
        given_backbone(recipe.model.backbone, recipe.model.trust_remote_code)
    try:
        result = two_stage(recipe, machine)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    show(recipe, result)
    return result
