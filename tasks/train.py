"""Training one stage: started on a machine, watched to its end, never left behind."""

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from cft.errors import CftError
from cft.files import write_json
from cft.recipe import Recipe
from cft.tracking.run_directory import RunDirectory
from cft.tracking.runs import TrackedRun
from cft.training.spec import TrainSpec
from tasks.machine.hire import hire_of, lease_settings, still_there
from tasks.machine.job import Job, Machine
from tasks.machine.place import HERE, Allowance, Place, at
from tasks.machine.watcher import watching
from tasks.notify.machines import cost_warning
from tasks.own_state import asking, leave
from tasks.watch import NotWantedError, Watch

LAST_LINES = 20


class TrainingError(RuntimeError):
    """The training process did not end well; the message ends with its last log lines."""


def train_spec(
    recipe: Recipe,
    stage: str,
    *,
    store: Path,
    backbone: Path,
    init_adapter: Path | None,
    data_digest: str,
    code: dict[str, Any],
    place: Place = HERE,
) -> TrainSpec:
    """What a training process has to do, with as many ranks as suit the place."""
    return TrainSpec(
        recipe=recipe,
        stage=stage,
        store=str(store),
        backbone=str(backbone),
        init_adapter=str(init_adapter) if init_adapter else None,
        world_size=place.ranks(recipe.launch),
        data_digest=data_digest,
        code=code,
    )


@task(name="train-stage", cache_policy=NO_CACHE, retries=0)
def train_stage(spec: TrainSpec, folder: str, tracked: TrackedRun, place: Place = HERE) -> str:
    """Train one stage and return the folder of its adapter.

    The run directory is the memory: with the same one a retry attaches to a job that still runs,
    goes on from its newest checkpoint, or finds the work done.

    Args:
        spec: what to do.
        folder: the run directory, on this machine also where the job runs on another.
        tracked: the run in MLflow.
        place: where to train.

    Raises:
        CftError: the job refused its input, or a rented machine is gone or has cost its cap.
        TrainingError: the job failed, was killed or showed no sign of life.
    """
    run = RunDirectory(folder)
    write_spec(run, spec)
    tracked.follow(run)
    say = get_run_logger().info
    try:
        if not run.adapter.is_dir():
            with (
                watching(run.path),
                at(place, say, _asking(place, tracked)) as (machine, job_of),
            ):
                follow(machine, job_of(run.path, spec), run, spec, place)
        _name_backbone(run, spec)
    finally:
        for path in (run.spec, *sorted(run.path.glob("train-*.log"))):
            tracked.file(path, "run")
    return str(run.adapter)


def _asking(place: Place, tracked: TrackedRun) -> Callable[[int], None] | None:
    """What a connection to a rented machine does about its failures."""
    if place.entry is None:
        return None
    settings = lease_settings(tracked.home, place.entry.job)
    if settings is None:
        return None
    return still_there(hire_of(tracked.home, settings).provider, place.entry)


def _name_backbone(run: RunDirectory, spec: TrainSpec) -> None:
    """Let the adapter name the backbone that is here: another host has its copy elsewhere."""
    path = run.adapter / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("base_model_name_or_path") != spec.backbone:
        write_json(path, config | {"base_model_name_or_path": spec.backbone})


def write_spec(run: RunDirectory, spec: TrainSpec) -> None:
    """Write ``spec.json``, once.

    Raises:
        CftError: the run directory was begun with other instructions.
    """
    if run.spec.exists():
        before = TrainSpec.load(run.spec)
        free: dict[str, Any] = {"code": spec.code}
        if run.adapter.is_dir():  # how many ranks it took is not asked again
            free["world_size"] = spec.world_size
        if before.model_copy(update=free) != spec:
            raise CftError(
                f"{run.spec}: this run was begun with other settings or data; start a new run"
            )
        return
    spec.save(run.spec)


def follow(
    machine: Machine, job: Job, run: RunDirectory, spec: TrainSpec, place: Place = HERE
) -> None:
    """Start the job or attach to it, and stay until it has ended.

    However this function is left (an error, Ctrl-C, SIGTERM, a cancelled flow), no process of the
    job is left running. Only the death of this process itself spares the job, which then goes on.
    """
    logger = get_run_logger()
    handle = machine.start(job)
    started = time.monotonic()
    try:
        logger.info(
            "%s %s: %d processes, run directory %s",
            "attached to" if handle.attached else "started",
            spec.stage,
            spec.world_size,
            run.path,
        )
        with asking() as cancelled:
            state = Watch(
                machine,
                handle,
                run,
                spec.train.max_steps,
                say=logger.info,
                progress=_progress_artifact(spec),
                cancelled=cancelled,
                guard=_allowance(place),
                interval=place.interval,
            ).until_done()
    except NotWantedError:
        machine.stop(handle)
        leave()
        raise
    except TimeoutError as error:
        raise TrainingError(_with_log(f"{spec.stage}: {error}; the job was stopped", run)) from None
    finally:
        machine.stop(handle)
    if state.state != "finished":
        status = run.read_status()
        if status.get("job_exit_code") == 2 and status.get("error"):
            raise CftError(str(status["error"]))
        raise TrainingError(_with_log(f"{spec.stage}: the training process {state}", run))
    if not run.adapter.is_dir():
        raise TrainingError(_with_log(f"{spec.stage}: the job ended without an adapter", run))
    logger.info("%s: finished in %.0f s", spec.stage, time.monotonic() - started)


def _allowance(place: Place) -> Callable[[], None]:
    entry = place.entry
    if entry is None:
        return lambda: None
    return Allowance(place, lambda: cost_warning(entry), time.time)


def _with_log(message: str, run: RunDirectory) -> str:
    lines = run.last_log_lines(LAST_LINES)
    return "\n".join([f"{message}; last lines of its log in {run.path}:", *lines])


def _progress_artifact(spec: TrainSpec) -> Callable[[float], None]:
    """A progress bar in the UI; a server that does not take it disturbs nobody."""
    made: list[Any] = []

    def show(percent: float) -> None:
        with contextlib.suppress(Exception):
            if not made:
                made.append(
                    create_progress_artifact(
                        progress=percent,
                        key=f"{spec.stage}-progress",
                        description=f"{spec.stage}: {spec.train.max_steps} optimiser steps",
                    )
                )
            else:
                update_progress_artifact(made[0], percent)

    return show
