"""Who has the stack of a state folder: taking it, and ending whoever has it."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from cft.errors import CftError
from cft.files import write_json
from cft.home import Home
from deployments.stack.members import end
from flows.environment import private_folder
from flows.living_stack import LOCK, RECORD, read_record
from tasks.machine.process_table import start_time
from tasks.machine.supervisor import try_lock

LOGS = "logs"
RUNS_GRACE = 20.0  # seconds for flow runs and jobs, which tell the server of their end
TRIAL_BYTES = 2**20  # less free space than this, and neither server makes its database
LOOKS = 5  # at a lock that is held, since `is_up` holds it for a moment as well


def require_folder(home: Home) -> None:
    """Make the stack's folder.

    Raises:
        CftError: it may not be written.
    """
    with told(home.stack):
        private_folder(home.stack)
        (home.stack / LOGS).mkdir(exist_ok=True)


def require_space(home: Home) -> None:
    """Write a file to see whether that can be done: on a full disk nothing could say what failed.

    Raises:
        CftError: it cannot.
    """
    trial = home.stack / f".trial.{os.getpid()}"
    with told(home.stack):
        try:
            with trial.open("wb") as file:
                file.write(bytes(TRIAL_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            trial.unlink(missing_ok=True)


@contextlib.contextmanager
def told(place: Path) -> Iterator[None]:
    """Turn what keeps the block from writing somewhere into a :class:`CftError`."""
    try:
        yield
    except OSError as error:
        raise CftError(
            f"{place}: {error.strerror}; let CFT_HOME name a folder that may be written, on a disk "
            "with space"
        ) from None


def opened(home: Home) -> int:
    """A handle of the lock's file.

    Raises:
        CftError: the folder may not be written.
    """
    require_folder(home)
    with told(home.stack / LOCK):
        return os.open(home.stack / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def taken(handle: int) -> bool:
    """Take the lock, unless another process keeps it."""
    for look in range(LOOKS):
        if look:
            time.sleep(0.02)
        if try_lock(handle):
            return True
    return False


def end_leftovers(home: Home) -> None:
    """End what a supervisor that was killed has left. Only who holds the lock may call it."""
    if token := read_record(home).get("token"):
        end(str(token), RUNS_GRACE)


def down(home: Home, patience: float = 120.0) -> bool:
    """End the stack of a state folder, or what is left of it.

    Returns:
        Whether there was anything to end.

    Raises:
        CftError: it did not end in time.
    """
    if not (home.stack / LOCK).exists():
        return False
    handle = opened(home)
    try:
        was_up = not taken(handle)
        if was_up:
            deadline = time.monotonic() + patience
            sent = False
            while not try_lock(handle):
                # One that has just begun has not written yet; the record is still an older one's.
                record = read_record(home)
                pid = int(record.get("pid", 0))
                if not sent and pid and start_time(pid) == record.get("start"):
                    os.kill(pid, signal.SIGTERM)
                    sent = True
                if time.monotonic() > deadline:
                    raise CftError(
                        f"the supervisor, process {pid}, did not end in {patience:g} s"
                        if sent
                        else f"{home.stack / RECORD}: does not name the supervisor that lives; end "
                        f"whoever holds {home.stack / LOCK} (`fuser` names it)"
                    )
                time.sleep(0.1)
        record = read_record(home)
        leftovers = record.get("state", "stopped") != "stopped"
        if leftovers:
            end_leftovers(home)
            ended = [one | {"state": "stopped", "pid": None} for one in record.get("services", [])]
            with contextlib.suppress(OSError):  # a full disk must not keep it from being over
                write_json(home.stack / RECORD, record | {"state": "stopped", "services": ended})
        return was_up or leftovers
    finally:
        os.close(handle)
