"""The training process: ``accelerate launch ... -m cft.training.main RUN_DIR``.

Every rank runs this file. It reads ``spec.json``, trains, and leaves the adapter and the status.
"""

import logging
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

from accelerate import PartialState

from cft.errors import CftError
from cft.tracking.run_directory import RunDirectory
from cft.training.job import train
from cft.training.spec import TrainSpec


class Terminated(BaseException):
    """SIGTERM or SIGINT arrived."""


def main(argv: list[str]) -> int:
    """Train the run directory that is named; the exit code of this rank."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr
    )
    if len(argv) != 1:
        print("usage: python -m cft.training.main RUN_DIR", file=sys.stderr)
        return 2
    run = RunDirectory(Path(argv[0]))
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        first = not received
        received.append(number)
        if first:  # a second signal must not interrupt the writing of the status
            raise Terminated

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    leads = True
    try:
        spec = TrainSpec.load(run.spec)
        state = PartialState(cpu=spec.recipe.launch.device == "cpu")
        leads = state.is_main_process
        if state.num_processes != spec.world_size:
            raise CftError(
                f"{run.spec}: world_size is {spec.world_size}, but {state.num_processes} ranks "
                "started; start it with the command of cft.training.launch"
            )
        if leads:
            run.write_status("running", world_size=spec.world_size)
        train(spec, run, state.device.type)
        if leads:
            run.write_status("finished", exit_code=0)
    except BaseException as error:
        return _failed(run, error, received, leads)
    return 0


def _failed(run: RunDirectory, error: BaseException, received: list[int], leads: bool) -> int:
    """Say why on the log and in the status; the exit code.

    The launcher ends the other ranks of one that fails by a signal. So the failing rank, whichever
    it is, records the reason, and a signal never overwrites it.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if received:
        code = 128 + received[0]
        print(f"stopped by {signal.Signals(received[0]).name}", file=sys.stderr)
        if leads and run.read_status().get("state") != "failed":
            run.write_status("killed", exit_code=code, signal=received[0])
        return code
    if isinstance(error, CftError):
        code = 2
        print(f"error: {text}", file=sys.stderr)
    else:
        code = 1
        traceback.print_exception(error)
    if leads or run.read_status().get("state") != "failed":
        run.write_status("failed", exit_code=code, error=text)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
