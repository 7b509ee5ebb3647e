"""With authentication on, no endpoint of either server answers a stranger; a few are named as open.

Both servers list their endpoints themselves, so one that a new release brings is asked as well.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.integration.endpoints import Endpoint, answers, of_mlflow, of_openapi
from tests.integration.migrated import migrated
from tests.integration.mlflow_server import LEAN
from tests.integration.server import free_port, serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
USER, PASSWORD = "person", "a password of the test"
WRONG = [None, (USER, "another password"), ("nobody", PASSWORD)]
REFUSED = {401, 403}
OPEN_IN_PREFECT = {Endpoint("GET", "/health"), Endpoint("GET", "/ready")}
OPEN_IN_MLFLOW = {
    Endpoint("GET", "/health"),
    Endpoint("GET", "/static-files/<path:path>"),  # the UI's own files, which hold no data
    Endpoint("GET", "/api/3.0/mlflow/server-info"),  # how to log in
    Endpoint("GET", "/ajax-api/3.0/mlflow/server-info"),
}


@dataclass(frozen=True)
class Server:
    """A server that asks for a password, and all that it serves."""

    address: str
    endpoints: list[Endpoint]

    def let_in(self, auth: tuple[str, str] | None, step: int = 1) -> set[Endpoint]:
        """Endpoints that do not refuse a credential, of every ``step``-th one."""
        found = answers(self.address, self.endpoints[::step], auth)
        return {one for one, status in found.items() if status != 401}


def environment(**more: str) -> dict[str, str]:
    hidden = ("PREFECT_", "MLFLOW_", "CFT_")
    kept = {name: one for name, one in os.environ.items() if not name.startswith(hidden)}
    return kept | {"DO_NOT_TRACK": "1"} | LEAN | more


@pytest.fixture(scope="module")
def prefect(tmp_path_factory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    address = f"http://127.0.0.1:{port}"
    env = environment(
        PREFECT_HOME=str(migrated(folder)),
        PREFECT_SERVER_API_AUTH_STRING=f"{USER}:{PASSWORD}",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
    )
    command = f"exec {sys.executable} -m prefect server start --port {port}"
    with serving(command, folder, env, f"{address}/api/health"):
        # Its paths begin below /api.
        document = httpx.get(f"{address}/openapi.json", auth=(USER, PASSWORD), timeout=120)
        yield Server(f"{address}/api", of_openapi(document.raise_for_status().json()))


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    address = f"http://127.0.0.1:{port}"
    config = folder / "auth.ini"
    config.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder}/auth.db\nadmin_username = {USER}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 600\n"  # the right password alone; its hash is slow by intent
    )
    env = environment(
        MLFLOW_AUTH_CONFIG_PATH=str(config),
        MLFLOW_AUTH_ADMIN_PASSWORD=PASSWORD,
        MLFLOW_FLASK_SERVER_SECRET_KEY="of the test",
    )
    command = (
        f"exec {sys.executable} -m mlflow server --workers 1 --host 127.0.0.1 --port {port} "
        f"--backend-store-uri sqlite:///{folder}/mlflow.db "
        f"--artifacts-destination {folder}/artifacts --app-name basic-auth"
    )
    with serving(command, folder, env, f"{address}/health"):
        yield Server(address, of_mlflow(env))


@pytest.mark.parametrize("auth", WRONG)
def test_prefect_refuses_strangers_everywhere(prefect: Server, auth) -> None:
    assert len([one for one in prefect.endpoints if one.writes]) > 120
    assert prefect.let_in(auth) == OPEN_IN_PREFECT


def test_prefect_lets_the_right_password_in_everywhere(prefect: Server) -> None:
    found = answers(prefect.address, prefect.endpoints, (USER, PASSWORD))
    assert {one for one, status in found.items() if status in REFUSED} == set()


SOCKETS = [
    "/events/in",
    "/events/out",
    "/logs/out",
    "/task_runs/subscriptions/scheduled",
    "/work_pools/nobody/workers/connect",
]


@pytest.mark.parametrize("path", SOCKETS)
@pytest.mark.parametrize("token", [None, "nobody:else"])
def test_prefect_closes_the_sockets_of_strangers(prefect: Server, path: str, token) -> None:
    async def speak() -> None:
        address = prefect.address.replace("http", "ws") + path
        async with connect(address, subprotocols=["prefect"], proxy=None) as socket:
            await socket.send(json.dumps({"type": "auth", "token": token}))
            answer = json.loads(await socket.recv())
            raise AssertionError(f"{path} says {answer} to a stranger")

    with pytest.raises(ConnectionClosed):
        asyncio.run(asyncio.wait_for(speak(), 60))


@pytest.mark.parametrize("auth", WRONG)
def test_mlflow_refuses_strangers_everywhere(mlflow: Server, auth) -> None:
    paths = {one.path for one in mlflow.endpoints if one.writes}
    assert len(paths) > 200
    assert "/api/2.0/mlflow/runs/create" in paths
    assert any("mlflow-artifacts/mpu/create" in path for path in paths)
    assert any("mlflow-artifacts/artifacts/{" in path for path in paths)
    # To hash a password takes long by intent: with a known user a part of the endpoints must do.
    step = 12 if auth and auth[0] == USER else 1
    asked = mlflow.endpoints[::step]
    assert mlflow.let_in(auth, step) == OPEN_IN_MLFLOW & set(asked)


def test_mlflow_lets_the_right_password_in_everywhere(mlflow: Server) -> None:
    found = answers(mlflow.address, mlflow.endpoints, (USER, PASSWORD))
    assert {one for one, status in found.items() if status in REFUSED} == set()


def test_mlflow_keeps_a_person_without_permissions_from_the_work_of_others(mlflow: Server) -> None:
    with httpx.Client(base_url=f"{mlflow.address}/api/2.0/mlflow", timeout=120) as client:
        admin = (USER, PASSWORD)
        guest = ("guest", "twelve letters and more")
        made = client.post("/experiments/create", json={"name": "theirs"}, auth=admin)
        experiment = made.raise_for_status().json()["experiment_id"]
        user = {"username": guest[0], "password": guest[1]}
        client.post("/users/create", json=user, auth=admin).raise_for_status()
        for path, body in (
            ("/experiments/delete", {"experiment_id": experiment}),
            ("/runs/create", {"experiment_id": experiment}),
        ):
            assert client.post(path, json=body, auth=guest).status_code == 403
            assert client.post(path, json=body).status_code == 401
        asked = {"experiment_id": experiment}
        assert client.get("/experiments/get", params=asked, auth=guest).status_code == 403
        assert client.get("/experiments/get", params=asked, auth=admin).status_code == 200
