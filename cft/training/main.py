"""The training process: ``accelerate launch ... -m cft.training.main RUN_DIR``.

Every rank runs this file. It reads ``spec.json``, trains, and leaves the adapter and the status.
"""

import logging
import os
import sys
import warnings
from pathlib import Path

from cft.imports import importing

with importing():
    from accelerate import PartialState

    from cft.errors import CftError
    from cft.tracking.run_directory import RunDirectory
    from cft.training.ending import leave_together, listen, record_failure
    from cft.training.job import train
    from cft.training.launch import resolve_device
    from cft.training.spec import TrainSpec


def main(argv: list[str]) -> int:
    """Train the run directory that is named; the exit code of this rank."""
    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(
        level=logging.INFO if first else logging.WARNING, format="%(message)s", stream=sys.stderr
    )
    # What torch and transformers will rename one day is nothing that a run's reader can act on.
    warnings.filterwarnings("ignore", category=FutureWarning)
    if len(argv) != 1:
        print("usage: python -m cft.training.main RUN_DIR", file=sys.stderr)
        return 2
    run = RunDirectory(Path(argv[0]))
    received = listen()
    leads = True
    try:
        spec = TrainSpec.load(run.spec)
        state = PartialState(cpu=resolve_device(spec.recipe.launch.device) == "cpu")
        leads = state.is_main_process
        if state.num_processes != spec.world_size:
            raise CftError(
                f"{run.spec}: world_size is {spec.world_size}, but {state.num_processes} ranks "
                "started; start it with the command of cft.training.launch"
            )
        if leads:
            run.write_status("running", world_size=spec.world_size)
        train(spec, run, state.device.type)
        leave_together()
        if leads:
            run.write_status("finished", exit_code=0)
    except BaseException as error:
        return record_failure(run, error, received, leads)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
