"""Every endpoint that a server has, and how each answers to a credential."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

NOBODY = "00000000-0000-4000-8000-000000000000"  # fills every parameter of a path
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PARAMETER = re.compile(r"\{[^}]+\}|<[^>]+>")
_AT_ONCE, _PATIENCE = 4, 30.0

# What MLflow's server with basic-auth is made of: Flask's routes, and FastAPI's own before them.
_MLFLOW = """
import json
from mlflow.server import app
from mlflow.server.auth import create_app

own = create_app(app).openapi()["paths"]
routes = [(method.upper(), path) for path, methods in own.items() for method in methods]
routes += [(method, one.rule) for one in app.url_map.iter_rules() for method in one.methods]
print(json.dumps(routes))
"""


@dataclass(frozen=True, order=True)
class Endpoint:
    """A method of a path, which may have parameters."""

    method: str
    path: str

    @property
    def filled(self) -> str:
        """The path for something that does not exist."""
        return _PARAMETER.sub(NOBODY, self.path)

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"


def of_openapi(document: Mapping[str, Any]) -> list[Endpoint]:
    """Endpoints of an OpenAPI document."""
    pairs = ((one.upper(), path) for path, kinds in document["paths"].items() for one in kinds)
    return sorted(Endpoint(method, path) for method, path in pairs if method in _METHODS)


def of_mlflow(environment: Mapping[str, str]) -> list[Endpoint]:
    """Endpoints of MLflow's server with basic-auth, as an app made in another process lists them.

    Args:
        environment: of the server.
    """
    ended = subprocess.run(
        [sys.executable, "-c", _MLFLOW],
        # As `mlflow server` says it to its own workers.
        env={**environment, "_MLFLOW_SGI_NAME": "uvicorn"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    pairs = json.loads(ended.stdout.splitlines()[-1])
    return sorted({Endpoint(method, path) for method, path in pairs if method in _METHODS})


def answers(
    address: str, endpoints: Iterable[Endpoint], auth: tuple[str, str] | None
) -> dict[Endpoint, int]:
    """Status of the answer of each endpoint to a request with an empty object as its body.

    0 stands for a request that was taken up and goes on for long.
    """
    wanted = list(endpoints)
    with httpx.Client(base_url=address, auth=auth, timeout=_PATIENCE, trust_env=False) as client:

        def ask(one: Endpoint) -> int:
            body = {"json": {}} if one.writes else {}
            # Not the body of the answer: some of them have no end.
            try:
                with client.stream(one.method, one.filled, **body) as answer:
                    return answer.status_code
            except httpx.ReadTimeout:
                return 0

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(wanted, pool.map(ask, wanted), strict=True))
