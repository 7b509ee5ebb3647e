"""Where the servers of this machine's stack are, if it is up.

The stack's supervisor (``deployments.stack``) holds the lock of its folder while it lives, so
neither a record that a killed one has left nor a pid that was given again is taken for a stack.
"""

import fcntl
import json
import os
from typing import Any

from cft.home import Home

LOCK, RECORD = "lock", "stack.json"


def read_record(home: Home) -> dict[str, Any]:
    """What the last supervisor has written; empty where there was none."""
    try:
        value = json.loads((home.stack / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def is_up(home: Home) -> bool:
    """Whether a supervisor of this state folder lives, starting and stopping ones included."""
    try:
        handle = os.open(home.stack / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def addresses(home: Home) -> dict[str, str]:
    """Variables that lead Prefect and MLflow to the stack's servers; empty unless it is ready."""
    record = read_record(home)
    if record.get("state") != "ready" or not is_up(home):
        return {}
    return dict(record["clients"])
