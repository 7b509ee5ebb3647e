"""Become the launcher of a run's ranks: ``python -m cft.training.launcher RUN_DIR [MACHINES]``.

For a host where nobody else is: which device it has and how its launcher is called is found there.
"""

import json
import os
import sys
from pathlib import Path

from cft.errors import CftError
from cft.tracking.run_directory import RunDirectory
from cft.training.launch import ALONE, Machines, launch_command, launch_environment
from cft.training.spec import TrainSpec


def main(arguments: list[str]) -> int:
    """Replace this process by the launcher of the run directory that is named.

    Args:
        arguments: the run directory; and, as one JSON object, the fields of
            :class:`~cft.training.launch.Machines` where several machines train it.
    """
    if len(arguments) not in (1, 2):
        print("usage: python -m cft.training.launcher RUN_DIR [MACHINES]", file=sys.stderr)
        return 2
    run = RunDirectory(Path(arguments[0]).absolute())
    try:
        machines = Machines(**json.loads(arguments[1])) if len(arguments) == 2 else ALONE
        spec = TrainSpec.load(run.spec)
        device = spec.recipe.launch.device
        command = launch_command(run.path, spec.world_size, device, machines)
        environment = os.environ | launch_environment(spec.world_size, device, machines)
    except CftError as error:
        print(f"error: {error}", file=sys.stderr)
        run.write_status("failed", exit_code=2, error=str(error))
        return 2
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
