"""Where a flow trains: here, or on a machine that it has while it does."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from cft.home import Home
from cft.recipe import Recipe
from cft.tracking.run_directory import RunDirectory
from cft.tracking.runs import TrackedRun
from tasks.data import require_full_batches
from tasks.machine.place import HERE, Place
from tasks.machine.settings import MachineSettings
from tasks.provision import machine_log, provision, reached
from tasks.steps import Steps


@contextlib.contextmanager
def place_for(
    machine: MachineSettings,
    recipe: Recipe,
    home: Home,
    job: str,
    steps: Steps,
    tracked: TrackedRun,
    stores: dict[str, Path],
) -> Iterator[Place]:
    """The place of a run's trainings, for as long as the block runs.

    A run that is repeated and finds its trainings done needs no machine: none is rented for it.

    Args:
        machine: settings.
        recipe: what will train there.
        home: the state folder.
        job: id of the flow run.
        steps: record of the flow run.
        tracked: the run in MLflow.
        stores: the triplets of each stage that will be trained.
    """
    if machine.kind == "local" or all(_trained(home.runs / job, stores)):
        yield HERE
        return
    log = machine_log(home.runs / job)
    gpu = recipe.launch.device in ("auto", "cuda")
    try:
        with reached(machine, home, job, log, tracked, gpu=gpu) as (host, entry):
            place = steps.do("provision", provision, machine, host, entry, recipe.launch, str(log))
            require_full_batches(recipe, stores, place.ranks(recipe.launch))
            yield place
    finally:
        if log.exists():
            tracked.file(log, "machine")


def _trained(folder: Path, stages: Iterable[str]) -> Iterator[bool]:
    return (RunDirectory(folder / stage).adapter.is_dir() for stage in stages)
