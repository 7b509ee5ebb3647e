"""Who has the stack of a state folder: taking it, and ending whoever has it."""

import os
import signal
import time

from cft.errors import CftError
from cft.files import write_json
from cft.home import Home
from deployments.stack.members import end
from flows.living_stack import LOCK, RECORD, read_record
from tasks.machine.process_table import start_time
from tasks.machine.supervisor import try_lock

LOGS = "logs"
RUNS_GRACE = 20.0  # seconds for flow runs and jobs, which tell the server of their end


def require_folder(home: Home) -> None:
    """Make the stack's folder.

    Raises:
        CftError: it may not be written.
    """
    try:
        (home.stack / LOGS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CftError(
            f"{home.stack}: {error.strerror}; let CFT_HOME name a folder that may be written"
        ) from None


def opened(home: Home) -> int:
    """A handle of the lock's file.

    Raises:
        CftError: the folder may not be written.
    """
    require_folder(home)
    return os.open(home.stack / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


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
        was_up = not try_lock(handle)
        if was_up:
            deadline = time.monotonic() + patience
            told: int | None = None
            while not try_lock(handle):
                # One that has just begun has not written yet; the record is still an older one's.
                record = read_record(home)
                pid = int(record.get("pid", 0))
                if told is None and pid and start_time(pid) == record.get("start"):
                    os.kill(pid, signal.SIGTERM)
                    told = pid
                if time.monotonic() > deadline:
                    raise CftError(f"the supervisor, process {told}, did not end in {patience:g} s")
                time.sleep(0.1)
        record = read_record(home)
        leftovers = record.get("state", "stopped") != "stopped"
        if leftovers:
            end_leftovers(home)
            ended = [one | {"state": "stopped", "pid": None} for one in record.get("services", [])]
            write_json(home.stack / RECORD, record | {"state": "stopped", "services": ended})
        return was_up or leftovers
    finally:
        os.close(handle)
