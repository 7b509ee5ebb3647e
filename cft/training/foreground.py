"""A training run in the foreground: log on the terminal and on disk, signals passed on."""

import contextlib
import fcntl
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from cft.errors import CftError
from cft.tracking.run_directory import RunDirectory
from cft.training.ending import end_with_parent
from cft.training.launch import ALONE, Machines, launch_command, launch_environment
from cft.training.spec import TrainSpec

logger = logging.getLogger("cft.training")

GRACE = 30.0  # seconds from the first signal to SIGKILL
_DRAIN = 5.0  # seconds that the log may stay open after its launcher
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def train_in_foreground(run: RunDirectory, spec: TrainSpec, machines: Machines = ALONE) -> int:
    """Start the ranks of ``run`` and stay until all have ended.

    However this process ends, the ranks end as well: signals are passed on to the process group,
    and the launcher dies with its parent.

    Returns:
        0 when the adapter is there, 2 when the training refused its input, else 1.

    Raises:
        CftError: another process trains this run.
    """
    device = spec.recipe.launch.device
    # Launched before the lock is taken, two commands would write one event log.
    with _owned(run, machines) as lock, run.new_log().open("ab") as log:
        launcher = subprocess.Popen(
            launch_command(run.path, spec.world_size, device, machines),
            env=os.environ | launch_environment(spec.world_size, device, machines),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
            # The lock is held for as long as the launcher lives, also when this process does not.
            pass_fds=[lock],
        )
        with _passing_signals(launcher) as received:
            _copy_log(launcher, log.fileno(), received)
    return _outcome(run, machines, launcher.returncode, received)


@contextlib.contextmanager
def _owned(run: RunDirectory, machines: Machines) -> Iterator[int]:
    path = run.path / f".lock-{machines.rank}"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
    except BlockingIOError:
        raise CftError(f"{run.path}: another process trains it; wait for its end") from None
    finally:
        os.close(lock)


@contextlib.contextmanager
def _passing_signals(launcher: subprocess.Popen[bytes]) -> Iterator[list[float]]:
    """Pass signals to the launcher's group; the list receives the time of each."""
    received: list[float] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(time.monotonic())
        # Who asks twice does not want to wait.
        _signal_group(launcher, number if len(received) == 1 else signal.SIGKILL)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield received
    except BaseException:
        _signal_group(launcher, signal.SIGKILL)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _copy_log(launcher: subprocess.Popen[bytes], log: int, received: list[float]) -> None:
    """Copy what the ranks write to the log file and to stderr until all of them are gone."""
    assert launcher.stdout is not None
    source = launcher.stdout.fileno()
    terminal = sys.stderr.fileno()
    ended: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while True:
            if selector.select(timeout=0.5):
                data = os.read(source, 65536)
                if not data:
                    break
                _write(log, data)
                with contextlib.suppress(OSError):  # a terminal that is gone stops no training
                    _write(terminal, data)
                continue
            now = time.monotonic()
            if received and now - received[0] > GRACE:
                _signal_group(launcher, signal.SIGKILL)
            if launcher.poll() is not None:
                ended = ended or now
                if now - ended > _DRAIN:  # somebody else holds the pipe
                    _signal_group(launcher, signal.SIGKILL)
                    break
    launcher.wait()
    launcher.stdout.close()


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _signal_group(launcher: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(launcher.pid, number)


def _outcome(
    run: RunDirectory, machines: Machines, launcher_code: int, received: list[float]
) -> int:
    if machines.rank:  # machine 0 keeps the record
        logger.info("machine %d: launcher ended with code %d", machines.rank, launcher_code)
        return 1 if launcher_code or received else 0
    status = run.read_status()
    state = status.get("state", "failed")
    if state == "finished" and run.adapter.is_dir():
        logger.info("%s", _summary(run, status))
        return 0
    if state == "running":  # nobody was left to write another
        run.write_status("killed", exit_code=launcher_code)
        state = "killed"
    reason = status.get("error") or f"launcher ended with code {launcher_code}"
    if status.get("exit_code") == 2:
        logger.info("training refused: %s", reason)
        return 2
    logger.info("training %s: %s; `cft train --resume %s` goes on", state, reason, run.path)
    return 1


def _summary(run: RunDirectory, status: dict[str, object]) -> str:
    seconds = float(str(status["ended"])) - float(str(status["started"]))
    events, _ = run.read_events()
    steps = [one for one in events if one["kind"] == "metric"]
    curve = [float(one["values"]["train/loss"]) for one in steps]
    gain = f", loss {curve[0]:.4f} to {curve[-1]:.4f}" if curve else ""
    last = steps[-1]["step"] if steps else 0
    return f"trained to step {last} in {seconds:.1f} s{gain}; adapter in {Path(run.adapter)}"
