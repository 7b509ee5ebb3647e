"""The production stack: used from outside alone, kept shut, saved, lost and brought back."""

import os
import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from prefect.client.schemas.objects import FlowRun

from cft.recipe import Recipe
from tests.compose import ROOT
from tests.integration.command import run
from tests.integration.team_client import (
    TeamClient,
    seen_below,
    seen_in_mlflow,
    seen_in_prefect,
)
from tests.integration.team_stack import BIN, TeamStack, missing_programs
from tests.postgres import program

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(missing_programs()), reason=f"not here: {missing_programs()}"),
]

# Of the block that a flow run reads its credentials from; the worker itself has none of these.
OF_RUNS = {"mlflow_admin_password", "lambda_api_key"}


@pytest.fixture(scope="module")
def stack() -> Iterator[TeamStack]:
    stack = TeamStack()
    try:
        stack.up()
        yield stack
    finally:
        stack.close()


@pytest.fixture(scope="module")
def person(stack: TeamStack) -> TeamClient:
    return TeamClient(
        stack.prefect, stack.mlflow, stack.secret("prefect_password"),
        stack.secret("mlflow_admin_password"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def planted(stack: TeamStack) -> dict[str, list[str]]:
    """Every secret as it could be found: by itself, and as it stands in a URL."""
    found = {}
    for path in stack.secrets.iterdir():
        if path.name != "redis_users" and (value := stack.secret(path.name)):
            found[path.name] = sorted({value, quote(value, safe="")})
    assert len(found) == 11
    return found


def held(text: str, planted: dict[str, list[str]]) -> set[str]:
    """Names of the secrets that stand in a text."""
    return {name for name, forms in planted.items() if any(form in text for form in forms)}


class Sight:
    """Which secrets were seen in whose environment, and whether any stood in a command line."""

    def __init__(self, planted: dict[str, list[str]]) -> None:
        self.planted = planted
        self.environments: dict[str, set[str]] = defaultdict(set)
        self.arguments: set[tuple[str, str]] = set()

    def look(self, stack: TeamStack) -> None:
        for service in stack.services:
            for process in stack.processes(service):
                try:
                    words, environment = process.cmdline(), process.environ()
                except (psutil.NoSuchProcess, psutil.ZombieProcess):
                    continue
                whose = service
                if any("cft.training" in word for word in words):
                    whose = "training"
                elif "PREFECT__FLOW_RUN_ID" in environment:
                    whose = "flow run"
                self.environments[whose] |= held("\n".join(environment.values()), self.planted)
                self.arguments |= {(whose, name) for name in held("\n".join(words), self.planted)}


@pytest.fixture(scope="module")
def sight(planted: dict[str, list[str]]) -> Sight:
    return Sight(planted)


@pytest.fixture(scope="module")
def finished(stack: TeamStack, person: TeamClient, sight: Sight, tiny: Recipe) -> FlowRun:
    """The pilot's deployment with the tests' recipe, started and awaited from outside."""
    with person.prefect() as client:
        for one in client.read_deployments():
            for schedule in one.schedules:
                client.update_deployment_schedule(one.id, schedule.id, active=False)
        deployment = client.read_deployment_by_name("two-stage/pilot")
        begun = client.create_flow_run_from_deployment(
            deployment.id, parameters={"recipe": tiny.model_dump(mode="json")}
        )
        deadline = time.monotonic() + 800
        while time.monotonic() < deadline:
            found = client.read_flow_run(begun.id)
            sight.look(stack)
            if found.state.is_final():
                return found
            time.sleep(0.5)
    raise AssertionError(f"still {found.state}: {stack.log('worker-cpu')[-3000:]}")


def test_the_run_of_a_worker_is_complete(finished, stack) -> None:
    assert finished.state.is_completed(), finished.state.message
    assert (stack.home / "runs" / str(finished.id) / "result.json").is_file()
    assert not (stack.home / "mlflow" / "mlflow.db").exists(), "the server tracks, not the worker"


def test_nothing_in_the_stack_complains(finished, stack) -> None:
    """A part of Prefect that looks for Redis in another place than the file says, for one."""
    for name in ("prefect-server", "prefect-services", "mlflow", "postgres", "deploy"):
        found = re.findall(r"^.*(?:\| ERROR|Traceback|ERROR:).*$", stack.log(name), re.M)
        assert found == [], name


def test_its_model_is_registered_and_comes_through_the_server(finished, person, tmp_path) -> None:
    with person.mlflow() as client:
        found = seen_in_mlflow(client, tmp_path)
        (version,) = found["versions"]
        assert found["aliases"][version[0]] == {"candidate": version[1]}
        assert any(name.endswith("adapter_model.safetensors") for _, name in found["artifacts"])
        assert all(
            client.get_run(run_id).info.artifact_uri.startswith("mlflow-artifacts:/")
            for run_id in found["runs"]
        )


def test_what_a_run_tells_goes_through_redis_to_the_services(finished, person) -> None:
    """The server only receives; the process of the services writes it down."""
    with person.prefect() as client:
        answer = client._client.post(
            "/events/filter",
            json={"filter": {"event": {"name": ["prefect.flow-run.Completed"]}}},
        )
    happened = {one["resource"]["prefect.resource.id"] for one in answer.json()["events"]}
    assert f"prefect.flow-run.{finished.id}" in happened


def test_a_second_deployment_from_another_machine_changes_nothing(stack, person, tmp_path) -> None:
    environment = person.environment() | {"CFT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ended = run(f"{BIN}/cft deploy --home {stack.home}", tmp_path, environment, 200)
    assert ended.code == 0, ended.output[-3000:]
    states = re.findall(r"│ (created|updated|unchanged) *│", ended.output)
    assert len(states) > 20
    wrong = environment | {"PREFECT_API_AUTH_STRING": "cft:wrong"}
    refused = run(f"{BIN}/cft deploy", tmp_path, wrong, 100)
    assert refused.code != 0
    assert "401" in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.parametrize("auth", [None, ("cft", "wrong"), ("admin", ""), ("cft", "")])
def test_prefect_refuses_without_credentials(stack, auth) -> None:
    for path in ("admin/settings", "deployments/name/two-stage/pilot", "csrf-token?client=a"):
        assert httpx.get(f"{stack.prefect}/api/{path}", auth=auth).status_code == 401, path
    answer = httpx.post(f"{stack.prefect}/api/flow_runs/filter", json={}, auth=auth)
    assert answer.status_code in (401, 403)
    assert httpx.get(f"{stack.prefect}/api/health").status_code == 200, "for probes"


def test_prefect_wants_its_token_from_a_browser(stack) -> None:
    """CSRF protection: credentials that a browser sends by itself are not enough to change."""
    auth = ("cft", stack.secret("prefect_password"))
    answer = httpx.post(f"{stack.prefect}/api/variables/", json={"name": "a"}, auth=auth)
    assert answer.status_code == 403
    assert "CSRF" in answer.text or "csrf" in answer.text


def test_the_ui_calls_the_published_address_and_asks_for_the_password(stack) -> None:
    assert httpx.get(f"{stack.prefect}/", follow_redirects=True).status_code == 200
    settings = httpx.get(f"{stack.prefect}/ui-settings", follow_redirects=True).json()
    assert settings["api_url"] == f"{stack.prefect}/api"
    assert settings["auth"] == "BASIC"


@pytest.mark.parametrize("auth", [None, ("admin", "wrong"), ("admin", "password1234"), ("", "")])
def test_mlflow_refuses_without_credentials(stack, auth) -> None:
    for path in ("/api/2.0/mlflow/experiments/get?experiment_id=0",
                 "/api/2.0/mlflow-artifacts/artifacts"):  # fmt: skip
        assert httpx.get(f"{stack.mlflow}{path}", auth=auth).status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [("mlflow:5000", 200), ("localhost:1234", 200), ("mlflow", 403), ("evil.example:5000", 403)],
)
def test_mlflow_answers_to_its_own_names_alone(stack, host, status) -> None:
    answer = httpx.get(
        f"{stack.mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0",
        auth=("admin", stack.secret("mlflow_admin_password")),
        headers={"Host": host},
    )
    assert answer.status_code == status


def test_redis_and_postgresql_ask_for_passwords(stack) -> None:
    redis = ["redis-cli", "-p", str(stack.ports[6379])]
    said = subprocess.run([*redis, "keys", "*"], capture_output=True, text=True, check=False)
    assert "NOAUTH" in said.stdout + said.stderr
    health = [*redis, "--no-auth-warning", "--user", "health", "--pass", "none"]
    said = subprocess.run([*health, "keys", "*"], capture_output=True, text=True, check=False)
    assert "NOPERM" in said.stdout + said.stderr

    def ask(user: str, database: str, password: str) -> str:
        url = f"postgresql://{user}@127.0.0.1:{stack.ports[5432]}/{database}"
        done = subprocess.run(
            [program("psql") or "psql", "-XAtc", "SELECT 1", url],
            env=os.environ | {"PGPASSWORD": password}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    mine = stack.secret("prefect_database_password")
    assert ask("prefect", "prefect", mine) == "1\n"
    assert "password authentication failed" in ask("prefect", "prefect", "wrong")
    assert "permission denied" in ask("prefect", "mlflow", mine)


def test_a_process_has_the_secrets_of_its_service_and_no_argument_holds_one(
    finished, stack, sight
) -> None:
    sight.look(stack)
    assert sight.arguments == set()
    seen = dict(sight.environments)
    assert OF_RUNS <= seen.pop("flow run") <= {*OF_RUNS, "prefect_password"}
    assert seen.pop("training") == set(), "a training knows no credential"
    assert "mlflow_admin_password" in seen["mlflow"], "the search finds what is there"
    for service in stack.services:
        given = set(stack.services[service].spec.get("secrets", []))
        assert seen.get(service, set()) <= given, service


def test_no_secret_is_in_what_anybody_can_read(
    finished, stack, person, planted, tmp_path: Path
) -> None:
    for name in stack.services:
        # A server of objects says who has asked: the key's name, which is of no use by itself.
        public = {"objects_access_key"} if name == "objects" else set()
        assert held(stack.log(name), planted) <= public, name
    with person.prefect() as client:
        told = client._client.post("/logs/filter", json={}).text
        assert finished.name in told or len(told) > 1000
        told += client._client.post("/flow_runs/filter", json={}).text
        told += client._client.post("/deployments/filter", json={}).text
        told += client._client.post("/block_documents/filter", json={}).text
    with person.mlflow() as client:
        for one in client.search_runs([e.experiment_id for e in client.search_experiments()]):
            told += str(one.data.params) + str(one.data.tags) + str(one.inputs)
        told += str([one.tags for one in client.search_model_versions()])
    assert held(told, planted) == set()
    for path in (stack.home / "runs").rglob("*"):
        if path.is_file():
            assert held(path.read_text("utf-8", errors="replace"), planted) == set(), path


def everything(stack: TeamStack, person: TeamClient, scratch: Path) -> dict[str, Any]:
    with person.prefect() as client:
        found = seen_in_prefect(client)
    with person.mlflow() as client:
        found |= seen_in_mlflow(client, scratch)
    return found | {"state folder": seen_below(stack.home / "runs")}


def test_a_stack_that_was_lost_comes_back_from_its_backup(
    finished, stack, person, planted, tmp_path: Path
) -> None:
    before = everything(stack, person, tmp_path / "before")
    saved = stack.run("backup")
    assert saved.returncode == 0, saved.stderr
    backup = Path(saved.stdout.strip())
    assert backup.parent == stack.backups
    assert {one.name for one in backup.iterdir()} == {
        "prefect.dump", "mlflow.dump", "objects.tar", "home.tar", "manifest.json",
    }  # fmt: skip
    assert backup.stat().st_mode & 0o077 == 0
    plain = subprocess.run(
        [program("pg_restore") or "pg_restore", "--file=-", backup / "prefect.dump"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(finished.id) in plain.stdout
    assert held(plain.stdout, planted) == set(), "blocks are encrypted with a key that is elsewhere"

    used = stack.run("restore", backup.name, "--force")
    assert used.returncode == 1
    assert "is in use" in used.stderr
    stack.down("worker-cpu", "deploy", "mlflow", "prefect-services", "prefect-server")
    full = stack.run("restore", backup.name)
    assert full.returncode == 1
    assert "the database prefect is not empty; --force replaces" in full.stderr
    broken = stack.backups / "broken"
    shutil.copytree(backup, broken)
    with (broken / "objects.tar").open("r+b") as file:
        file.seek(1000)
        file.write(b"x")
    damaged = stack.run("restore", "broken", "--force")
    assert damaged.returncode == 1
    assert "objects.tar: not the file that was saved" in damaged.stderr

    stack.down()
    stack.lose_everything()
    stack.up("postgres", "objects", "objects-bucket")
    for words in ([backup.name], [backup.name, "--force"]):  # into nothing, and over what is there
        restored = stack.run("restore", *words)
        assert restored.returncode == 0, restored.stderr
    stack.up()
    after = everything(stack, person, tmp_path / "after")
    assert after.keys() == before.keys()
    for what, old in before.items():
        assert old, what
        assert after[what] == old, what
    assert held(saved.stdout + saved.stderr + restored.stdout + restored.stderr, planted) == set()
