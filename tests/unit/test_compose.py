"""compose.yaml: what holds for every service, asked of every service."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import check_jsonschema
import pytest
from jsonschema import Draft202012Validator
from prefect.settings import Settings

from tests.compose import DOCKER, FILE, document, started_by_default

SET = {"CFT_SECRETS_GID": "1000"}
SPEC = document(SET)
SERVICES: dict[str, Any] = SPEC["services"]
ONE_SHOTS = {"objects-bucket", "prefect-migrate", "mlflow-migrate", "deploy", "backup", "restore"}
SERVERS = sorted(set(SERVICES) - ONE_SHOTS)
PYTHON_SERVERS = {"prefect-server", "prefect-services", "mlflow", "worker-cpu", "worker-gpu"}
TEMPLATE = "_FROM_SECRETS"

every = pytest.mark.parametrize("name", sorted(SERVICES))


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return float(number) * {"s": 1, "m": 60}[unit]


def networks(name: str) -> set[str]:
    return set(SERVICES[name]["networks"])


def secrets_of(template: str) -> set[str]:
    return {one.rstrip("?").removesuffix(":url") for one in re.findall(r"\{([^}]*)\}", template)}


def test_it_fits_the_schema_of_compose() -> None:
    package = Path(check_jsonschema.__file__).parent
    path = package / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = Draft202012Validator(json.loads(path.read_text("utf-8")))
    assert [error.message for error in validator.iter_errors(SPEC)] == []
    assert not validator.is_valid(SPEC | {"services": {"a": {"imag": "b"}}})


def test_the_command_of_the_schema_says_so_as_well() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema",
         "vendor.compose-spec", FILE],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_without_secrets_it_says_what_to_run() -> None:
    with pytest.raises(KeyError, match=r"CFT_SECRETS_GID: run docker/secrets.sh first"):
        document({})


def test_two_uis_are_published_on_loopback_and_nothing_else() -> None:
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert published == {
        "prefect-server": ["127.0.0.1:4200:4200"],
        "mlflow": ["127.0.0.1:5000:5000"],
    }
    assert not any("network_mode" in one or "expose" in one for one in SERVICES.values())


def test_databases_redis_and_objects_have_no_way_out() -> None:
    for name in ("postgres", "redis", "objects"):
        assert all(SPEC["networks"][one]["internal"] is True for one in networks(name)), name
    for worker in ("worker-cpu", "worker-gpu", "deploy"):
        assert networks(worker) == {"api"}
    assert not networks("mlflow") & networks("redis")
    assert not networks("prefect-server") & networks("objects")


@every
def test_it_has_networks_of_its_own_and_reaches_what_it_names(name: str) -> None:
    assert networks(name) <= set(SPEC["networks"])
    words = json.dumps(SERVICES[name].get("environment", {}))
    for host in set(re.findall(rf"\b({'|'.join(SERVICES)}):\d", words)):
        assert networks(name) & networks(host), f"{name} cannot reach {host}"


@every
def test_it_is_no_root_and_cannot_become_it(name: str) -> None:
    service = SERVICES[name]
    user, group = service["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert any(one.startswith("/tmp:") for one in service.get("tmpfs", [])) or name == "redis"
    for forbidden in ("privileged", "cap_add", "devices", "pid", "ipc"):
        assert forbidden not in service
    assert not any("docker.sock" in str(one) for one in service.get("volumes", []))


@every
def test_its_image_is_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    tag = image.partition(":")[2]
    assert re.match(r"\d+\.\d+(\.\d+)?", tag), image
    assert "latest" not in image
    raw = FILE.read_text("utf-8")
    for variable in ("CFT_POSTGRES_IMAGE", "CFT_REDIS_IMAGE", "CFT_OBJECTS_IMAGE", "CFT_VERSION"):
        assert f"${{{variable}:-" in raw, "can be pinned by digest"


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_watched_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    health = service["healthcheck"]
    assert health["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= health.keys()
    assert seconds(health["timeout"]) <= seconds(health["interval"])
    if name in PYTHON_SERVERS:
        assert seconds(health["start_period"]) >= 60, "20 to 31 s were measured on a free machine"


@pytest.mark.parametrize("name", sorted(ONE_SHOTS))
def test_a_one_shot_ends_and_is_waited_for(name: str) -> None:
    service = SERVICES[name]
    assert "healthcheck" not in service
    assert service["restart"] in ("on-failure:5", "no")
    waited = [
        one["depends_on"][name]["condition"]
        for one in SERVICES.values()
        if name in one.get("depends_on", {})
    ]
    assert set(waited) <= {"service_completed_successfully"}
    assert waited or service["profiles"] == ["tools"]


@every
def test_nothing_secret_stands_in_its_environment(name: str) -> None:
    service = SERVICES[name]
    given = set(service.get("secrets", []))
    used: set[str] = set()
    for variable, value in service.get("environment", {}).items():
        if variable.endswith(TEMPLATE):
            assert secrets_of(value), variable
            used |= secrets_of(value)
        elif variable.endswith("_FILE"):
            used.add(value.removeprefix("/run/secrets/"))
        else:
            assert not re.search(r"PASSWORD|SECRET|TOKEN|AUTH_STRING|_KEY$|KEY_ID", variable)
            assert "{" not in str(value), f"{variable}: a template needs the suffix {TEMPLATE}"
            assert not urlsplit(str(value)).password
    used |= set(re.findall(r"/run/secrets/(\w+)", json.dumps(service.get("command", []))))
    if name == "postgres":  # its script reads them itself
        used |= {"prefect_database_password", "mlflow_database_password"}
    assert used == given, "neither too few nor too many"
    if any(variable.endswith(TEMPLATE) for variable in service.get("environment", {})):
        assert service["entrypoint"][0] == "cft-entrypoint"


def test_passwords_in_urls_are_encoded() -> None:
    templates = [
        value
        for service in SERVICES.values()
        for variable, value in service.get("environment", {}).items()
        if variable.endswith(TEMPLATE) and "://" in value
    ]
    assert len(templates) >= 3
    assert all(re.search(r":\{\w+:url\}@", one) for one in templates)


def test_every_secret_is_made_by_the_script(tmp_path: Path) -> None:
    subprocess.run([DOCKER / "secrets.sh", tmp_path], check=True, stdout=subprocess.DEVNULL)
    assert {one.name for one in tmp_path.iterdir()} == set(SPEC["secrets"])
    for name, one in SPEC["secrets"].items():
        assert one == {"file": f"./secrets/{name}"}
    assert {one for service in SERVICES.values() for one in service.get("secrets", [])} == set(
        SPEC["secrets"]
    )


def test_telemetry_is_off() -> None:
    for name, service in SERVICES.items():
        environment = service.get("environment", {})
        if name.startswith("prefect-"):
            assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
        if name.startswith("mlflow"):
            assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
        if name in {*PYTHON_SERVERS, "deploy"}:
            assert environment["DO_NOT_TRACK"] == "1"


def test_prefects_variables_are_prefects_settings() -> None:
    """A misspelt setting is ignored without a word."""
    known = set()

    def walk(model: Any, prefix: str) -> None:
        for field_name, info in model.model_fields.items():
            known.add(f"{prefix}{field_name}".upper())
            alias = info.validation_alias
            known.update(str(one).upper() for one in getattr(alias, "choices", ()))
            if hasattr(info.annotation, "model_fields"):
                walk(info.annotation, f"{prefix}{field_name}_")

    walk(Settings, "prefect_")
    # Of prefect_redis, and read by the server's encryption straight from the environment.
    known |= {"PREFECT_REDIS_MESSAGING_URL", "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL"}
    known.add("PREFECT_SERVER_ENCRYPTION_KEY")
    for service in SERVICES.values():
        for variable in service.get("environment", {}):
            if variable.startswith("PREFECT_"):
                assert variable.removesuffix(TEMPLATE) in known, variable


def test_servers_share_what_they_hold_in_redis() -> None:
    import importlib

    for name in ("prefect-server", "prefect-services"):
        environment = SERVICES[name]["environment"]
        modules = [one for one in environment.values() if str(one).startswith("prefect_redis.")]
        assert len(modules) == 5
        assert all(importlib.import_module(one) for one in modules)
        assert environment["PREFECT_SERVER_DOCKET_URL_FROM_SECRETS"].startswith("redis://")
    assert SERVICES["prefect-server"]["command"][-1] == "--no-services"
    assert SERVICES["prefect-server"]["environment"][
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START"
    ] == ("false")


def test_what_is_kept_is_in_volumes() -> None:
    kept = {
        one.split(":")[0]
        for service in SERVICES.values()
        for one in service.get("volumes", [])
        if not one.startswith(".")
    }
    assert kept == set(SPEC["volumes"])
    for worker in ("worker-cpu", "worker-gpu"):
        service = SERVICES[worker]
        volume, *read_only = service["volumes"]
        assert volume == f"home:{service['environment']['CFT_HOME']}"
        assert all(one.endswith(":ro") for one in read_only)


def test_the_gpu_worker_is_asked_for_and_has_the_devices() -> None:
    assert "worker-gpu" not in started_by_default(SERVICES)
    gpu = SERVICES["worker-gpu"]
    assert gpu["profiles"] == ["gpu"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert gpu["image"] != SERVICES["worker-cpu"]["image"]
    assert seconds(gpu["stop_grace_period"]) >= 60, "short runs end in it"


def test_everything_is_started_after_what_it_needs() -> None:
    order = started_by_default(SERVICES)
    assert set(order) == set(SERVICES) - {"worker-gpu", "backup", "restore"}
    assert order.index("deploy") < order.index("worker-cpu")
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            expected = "completed_successfully" if other in ONE_SHOTS else "healthy"
            assert condition == {"condition": f"service_{expected}"}, (name, other)


def test_nothing_in_the_folder_hides_a_package() -> None:
    assert not list(DOCKER.rglob("__init__.py"))
