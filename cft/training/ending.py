"""How a rank ends: by a signal, with its launcher, or by an error, and what it leaves on record."""

import ctypes
import signal
import sys
import traceback
from types import FrameType

import torch.distributed as dist

from cft.errors import CftError
from cft.tracking.run_directory import RunDirectory

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Terminated(BaseException):
    """SIGTERM or SIGINT arrived."""


def listen() -> list[int]:
    """Raise :class:`Terminated` on SIGTERM and SIGINT; the list receives the signals' numbers.

    The rank also ends with its launcher: that starts every rank in a session of its own, so a
    killed launcher would otherwise leave ranks that train on for nobody.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:  # a second signal must not interrupt the writing of the status
            raise Terminated

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    end_with_parent()
    return received


def end_with_parent() -> None:
    """Have SIGTERM sent to this process when its parent dies, however it dies. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def leave_together() -> None:
    """Wait for all ranks, then close the process group.

    A rank that left while others still write would be taken for a failed one, and a group that is
    open when the interpreter ends may abort it.
    """
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def record_failure(
    run: RunDirectory, error: BaseException, received: list[int], leads: bool
) -> int:
    """Say why on the log and in the status; the exit code.

    The launcher ends the other ranks of one that fails by a signal. So the failing rank, whichever
    it is, records the reason, and a signal never overwrites it.
    """
    if received:
        code = 128 + received[0]
        print(f"stopped by {signal.Signals(received[0]).name}", file=sys.stderr)
        if leads and run.read_status().get("state") != "failed":
            run.write_status("killed", exit_code=code, signal=received[0])
        return code
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, CftError):
        code = 2
        print(f"error: {text}", file=sys.stderr)
    else:
        code = 1
        traceback.print_exception(error)
    if leads or run.read_status().get("state") != "failed":
        run.write_status("failed", exit_code=code, error=text)
    return code
