"""What deployments ask of the machines that train: texts, backbones, a compiler, kept kernels."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from tests.compose import DOCKER, ROOT, document

SERVICES = document({"CFT_SECRETS_GID": "1000"})["services"]
WORKERS = {"cpu": SERVICES["worker-cpu"], "gpu": SERVICES["worker-gpu"]}
PLACE = PurePosixPath("/opt/cft")  # where an image has the code, and where its runs start
CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
TEMPLATE = DOCKER / "kubernetes" / "base-job-template.json"


def deployed() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, pool and recipe of every deployment that has one."""
    file = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text("utf-8"))
    for one in file["deployments"]:
        given = one.get("parameters", {})
        recipe = given.get("recipe") or given.get("settings", {}).get("recipe")
        if recipe:
            yield f"{one['entrypoint']} {one['name']}", one["work_pool"]["name"], recipe


def mounts(service: dict[str, Any]) -> dict[PurePosixPath, tuple[str, bool]]:
    """Source of each mounted folder, and whether it is to read only."""
    found = {}
    for one in service["volumes"]:
        source, target, *mode = one.split(":")
        found[PurePosixPath(target)] = (source, mode == ["ro"])
    return found


def below(path: str, folders: list[PurePosixPath]) -> bool:
    return any(PurePosixPath(path).is_relative_to(one) for one in folders)


def tmpfs(service: dict[str, Any]) -> list[PurePosixPath]:
    return [PurePosixPath(one.partition(":")[0]) for one in service["tmpfs"]]


def test_texts_and_backbones_that_a_deployment_names_are_mounted_where_its_runs_start() -> None:
    named = set()
    for name, pool, recipe in deployed():
        found = mounts(WORKERS[pool])
        wanted = [recipe.get("data", {}).get(key) for key in ("itihasa", "vbt")]
        for path in [*wanted, recipe.get("model", {}).get("backbone")]:
            if path:
                top = PLACE / PurePosixPath(path).parts[0]
                assert found[top] == (f"../{top.name}", True), (name, path)
                named.add(top.name)
    assert named == {"data", "pretrained"}
    assert (DOCKER / "../data").resolve() == ROOT / "data", "where the README has it"


def test_other_folders_can_be_named() -> None:
    other = {"CFT_SECRETS_GID": "1000", "CFT_DATA": "/texts", "CFT_PRETRAINED": "./models"}
    for name in ("worker-cpu", "worker-gpu"):
        found = mounts(document(other)["services"][name])
        assert found[PLACE / "data"] == ("/texts", True)
        assert found[PLACE / "pretrained"] == ("./models", True)


def test_a_worker_whose_recipes_compile_has_a_compiler() -> None:
    compiled = {
        pool
        for name, pool, recipe in deployed()
        if any(recipe.get(stage, {}).get("compile") for stage in ("stage1", "stage2"))
        and not name.startswith("flows.prepare.")  # which only makes its data
    }
    assert compiled == {"gpu"}
    build = WORKERS["gpu"]["build"]
    text = (DOCKER / Path(build["dockerfile"]).name).read_text("utf-8")
    stage = text.partition(f" AS {build['target']}\n")[2].partition("\nFROM ")[0]
    for package in ("gcc=", "g++=", "libc6-dev="):
        assert package in stage
    page = (DOCKER / "kubernetes" / "README.md").read_text("utf-8")
    assert f"--target {build['target']} -t REGISTRY/cft-trainer" in page


@pytest.mark.parametrize("pool", WORKERS)
def test_kernels_are_kept_where_they_can_be_run_and_not_saved(pool: str) -> None:
    """Docker mounts a tmpfs noexec: a library that lies in it cannot be loaded."""
    service = WORKERS[pool]
    environment = service["environment"]
    writable = [target for target, (_, only) in mounts(service).items() if not only]
    assert below(environment["HOME"], tmpfs(service)), "so the defaults lie in it"
    for name in CACHES:
        assert below(environment[name], writable)
        assert not below(environment[name], tmpfs(service))
        assert below(environment[name], [PurePosixPath(environment["CFT_HOME"]) / "cache"])
    assert "--exclude=./cache" in (DOCKER / "backup.sh").read_text("utf-8")


def test_jobs_of_a_cluster_keep_their_kernels_in_the_claim() -> None:
    text = TEMPLATE.read_text("utf-8")
    job = json.loads(text)["job_configuration"]["job_manifest"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    values = {one["name"]: one.get("value") for one in container["env"]}
    for name in CACHES:
        assert values[name] == WORKERS["gpu"]["environment"][name]
    assert {"name": "home", "mountPath": values["CFT_HOME"]} in container["volumeMounts"]


def test_nobody_is_promised_a_checkpoint_when_a_worker_is_stopped() -> None:
    grace = json.loads(TEMPLATE.read_text("utf-8"))["variables"]["properties"]["grace_seconds"]
    assert "No checkpoint is saved" in grace["description"]
    assert "save_steps" in grace["description"]
    section = (DOCKER / "README.md").read_text("utf-8").partition("\n## Stopping workers\n")[2]
    recipes = {recipe["name"]: recipe for _, _, recipe in deployed()}
    for stage in ("stage1", "stage2"):
        lost = recipes["sarvam"][stage]["save_steps"]
        assert f"{lost} in stage {stage[-1]}" in section.partition("\n## ")[0]
