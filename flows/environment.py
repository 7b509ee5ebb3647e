"""What Prefect and MLflow must find in the environment before they are imported.

Both read their settings once, on import. Whoever starts a flow calls :func:`prepare_environment`
first; a variable that the user has set always wins, and a proxy only loses this machine's own
addresses.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from cft.home import HOME_VARIABLE, TRACKING_VARIABLE, Home
from flows.living_stack import addresses

HEARTBEAT_VARIABLE = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
HEARTBEAT_SECONDS = 60  # Prefect's own default, 180, would leave a death unseen for nine minutes

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_LOOPBACK = ("127.0.0.1", "localhost")
_PRIVATE = 0o700

# What a flow run under a worker takes from elsewhere: places from blocks, its server and its own
# state folder from the worker, and nobody reads its console.
_NOT_UNDER_A_WORKER = (
    HOME_VARIABLE,
    TRACKING_VARIABLE,
    "PREFECT_HOME",
    "PREFECT_LOCAL_STORAGE_PATH",
    "PREFECT_SERVER_",
    "PREFECT_LOGGING_HANDLERS_",
)


def environment_of(home: Home) -> dict[str, str]:
    """The variables that a flow run on this machine wants, without looking at the present ones."""
    return {
        HOME_VARIABLE: str(home.path),
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_LOCAL_STORAGE_PATH": str(home.prefect / "results"),
        # Without PREFECT_API_URL a temporary server is started; 20 s do not always suffice for it.
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "true",
        # Of Prefect's own words only warnings; of the runs' words everything.
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
        "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "INFO",
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "flows.console.OneLineConsole",
        # Threads that spin while they wait cost six times the speed as soon as two processes want
        # the same cores; read once, when torch is loaded.
        "OMP_WAIT_POLICY": "PASSIVE",
        TRACKING_VARIABLE: home.local_tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # The defaults (120 s, seven retries) would hold a run for minutes when a server is down.
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "GIT_PYTHON_REFRESH": "quiet",
    }


def worker_environment(heartbeat_seconds: int = HEARTBEAT_SECONDS) -> dict[str, str]:
    """The variables that a flow run wants from its deployment, the same on every machine."""
    anywhere = environment_of(Home.from_environment())
    kept = {
        name: value for name, value in anywhere.items() if not name.startswith(_NOT_UNDER_A_WORKER)
    }
    return kept | {HEARTBEAT_VARIABLE: str(heartbeat_seconds)}


def past_the_proxy(outer: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep a user's proxy away from servers on 127.0.0.1; empty without one.

    A proxy cannot reach them, and Prefect's and MLflow's clients would ask it all the same.
    """
    if not any(outer.get(name) or outer.get(name.upper()) for name in _PROXIES):
        return {}
    found = {}
    for name, other in (("no_proxy", "NO_PROXY"), ("NO_PROXY", "no_proxy")):
        listed = [one.strip() for one in (outer.get(name) or outer.get(other) or "").split(",")]
        if listed != ["*"]:  # means every host, and only while it stands alone
            found[name] = ",".join(dict.fromkeys([*filter(None, listed), *_LOOPBACK]))
    return found


def private_folders(home: Home) -> None:
    """Make the folders of the two databases, which nobody else may enter.

    Prefect's holds the keys in the blocks, and what they are encrypted with.
    """
    for folder in (home.prefect, home.mlflow_database.parent):
        private_folder(folder)


def private_folder(folder: Path) -> None:
    """Make a folder that nobody else may enter; one that is there is closed to others."""
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        with contextlib.suppress(OSError):  # another user's, or on a disk that is read-only
            folder.chmod(_PRIVATE)


def prepare_environment(home: Home) -> None:
    """Set every variable of :func:`environment_of` that the user has not set.

    Must run before the first ``import prefect``. Where the stack of this state folder is up, flows
    talk to its servers: a second server on the same files would only get in its way. With
    ``PREFECT_API_URL`` they talk to the user's own.
    """
    for name, value in (environment_of(home) | addresses(home)).items():
        os.environ.setdefault(name, value)
    os.environ.update(past_the_proxy(os.environ))
    private_folders(home)
