"""What the stack consists of: commands, environments, and how each says that it is well."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from cft.home import TRACKING_VARIABLE, Home
from flows.environment import environment_of, past_the_proxy

API_VARIABLE = "PREFECT_API_URL"
AUTH = "PREFECT_SERVER_API_AUTH_STRING"
POOLS = ("cpu", "gpu")
PREFECT_PORT, MLFLOW_PORT = 4200, 5000
# A run imports torch: more at once than this would only wait for each other, and for memory.
LEAST_RUNS, RUNS_PER_CORE = 4, 2

# What of the caller's environment would lead the stack's own processes elsewhere.
_ELSEWHERE = (
    "PREFECT_API_",
    "PREFECT_HOME",
    "PREFECT_PROFILE",
    "PREFECT_SERVER_DATABASE_",
    "MLFLOW_",
)


@dataclass(frozen=True)
class Service:
    """One process of the stack.

    Attributes:
        name: of it, and of its log file.
        command: argument vector; never holds a secret, since everybody can read it.
        environment: the whole of it.
        health: URL that answers with 200 when it is well.
        url: what a person opens; empty for a worker.
        whole: what it has started ends with it. A server's own children keep its port; what a
            worker has started are runs, which outlive it.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    health: str
    url: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Ports:
    """Where each service listens on 127.0.0.1."""

    prefect: int
    mlflow: int
    workers: Mapping[str, int]

    @property
    def prefect_url(self) -> str:
        """Of Prefect's UI."""
        return f"http://127.0.0.1:{self.prefect}"

    @property
    def mlflow_url(self) -> str:
        """Of MLflow's UI, which is its tracking URI as well."""
        return f"http://127.0.0.1:{self.mlflow}"


def client_environment(ports: Ports) -> dict[str, str]:
    """What leads a client to the stack; no secret."""
    return {API_VARIABLE: f"{ports.prefect_url}/api", TRACKING_VARIABLE: ports.mlflow_url}


def base_environment(home: Home, ports: Ports, outer: Mapping[str, str]) -> dict[str, str]:
    """What all processes of the stack have in common.

    Args:
        home: the state folder.
        ports: of the stack.
        outer: environment of the caller. An authentication string for Prefect's server in it is
            given to the clients as well.
    """
    kept = {name: value for name, value in outer.items() if not name.startswith(_ELSEWHERE)}
    secret = {"PREFECT_API_AUTH_STRING": outer[AUTH]} if outer.get(AUTH) else {}
    ours = environment_of(home) | client_environment(ports) | past_the_proxy(outer)
    return kept | ours | secret | {
        "PYTHONUNBUFFERED": "1",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_COLORS": "false",
    }  # fmt: skip


def servers(home: Home, ports: Ports, outer: Mapping[str, str]) -> tuple[Service, ...]:
    """Prefect's server and MLflow's, both on SQLite under the state folder."""
    base = base_environment(home, ports, outer)
    both = [f"http://{host}:{ports.prefect}" for host in ("127.0.0.1", "localhost")]
    prefect = Service(
        name="prefect",
        command=_python("deployments.stack.prefect_server", "server", "start",
                        "--host", "127.0.0.1", "--port", str(ports.prefect)),
        # By default any page that the browser shows could send requests to it.
        environment=base | {
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(both),
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_UI_API_URL": "/api",
            # The newer one calls the maker's analytics even where analytics are switched off.
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
        },
        health=f"{ports.prefect_url}/api/health",
        url=ports.prefect_url,
        whole=True,
    )  # fmt: skip
    names = [f"{host}:{ports.mlflow}" for host in ("127.0.0.1", "localhost")]
    mlflow = Service(
        name="mlflow",
        command=_python("mlflow", "server", "--workers", "1", "--host", "127.0.0.1",
                        "--port", str(ports.mlflow),
                        "--backend-store-uri", home.local_tracking_uri,
                        "--artifacts-destination", str(home.mlflow_artifacts),
                        "--allowed-hosts", ",".join(names),
                        "--cors-allowed-origins", ",".join(f"http://{one}" for one in names)),
        # It would keep three more processes for jobs that nobody of ours gives it.
        environment={k: v for k, v in base.items() if k != TRACKING_VARIABLE}
        | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        health=f"{ports.mlflow_url}/health",
        url=ports.mlflow_url,
        whole=True,
    )  # fmt: skip
    return prefect, mlflow


def workers(home: Home, ports: Ports, outer: Mapping[str, str]) -> tuple[Service, ...]:
    """A process worker for each pool that this machine serves."""
    base = base_environment(home, ports, outer)
    limit = max(LEAST_RUNS, RUNS_PER_CORE * (os.cpu_count() or 1))
    return tuple(
        Service(
            name=f"worker-{pool}",
            command=_python("prefect", "worker", "start", "--pool", pool, "--type", "process",
                            "--name", f"cft-up-{pool}", "--limit", str(limit),
                            "--with-healthcheck"),
            environment=base | {
                "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
                "PREFECT_WORKER_WEBSERVER_PORT": str(port),
                "PREFECT_WORKER_QUERY_SECONDS": "5",
            },
            health=f"http://127.0.0.1:{port}/health",
        )
        for pool, port in ports.workers.items()
    )  # fmt: skip


def deploying(home: Home, ports: Ports, outer: Mapping[str, str]) -> Service:
    """`cft deploy`, which ends by itself."""
    return Service(
        name="deploy",
        command=_python("cft.cli", "deploy", "--home", str(home.path), "--skip-missed"),
        environment=base_environment(home, ports, outer),
        health="",
    )


def _python(*words: str) -> tuple[str, ...]:
    # Not from the current folder: names in it could take the place of modules.
    return (sys.executable, "-P", "-m", *words)
