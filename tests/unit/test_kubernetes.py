"""The pool's template for jobs with GPUs: the worker makes of it a job that a cluster takes."""

import asyncio
import json
from typing import Any, cast
from uuid import uuid4

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

from deployments.deploy.plan import planned
from tests.compose import DOCKER, document

FOLDER = DOCKER / "kubernetes"
TEMPLATE: dict[str, Any] = json.loads((FOLDER / "base-job-template.json").read_text("utf-8"))
DEPLOYMENTS = FOLDER / "prefect.yaml"
IMAGE = "registry.example/cft-trainer@sha256:" + "0" * 64


def rendered(**values: Any) -> dict[str, Any]:
    """The manifest of a run's job, as a worker makes it from the template."""
    # Nothing in the template refers to blocks or variables of a server, so none is asked.
    nobody = cast(PrefectClient, object())
    configuration = asyncio.run(
        KubernetesWorkerJobConfiguration.from_template_and_values(
            TEMPLATE, {"image": IMAGE, **values}, client=nobody
        )
    )
    with temporary_settings({PREFECT_API_URL: "http://prefect-server.cft:4200/api"}):
        configuration.prepare_for_flow_run(FlowRun(id=uuid4(), flow_id=uuid4(), name="tiny"))
    return configuration.job_manifest


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (one,) = manifest["spec"]["template"]["spec"]["containers"]
    return one


def test_the_rendered_job_fits_the_schema_of_kubernetes() -> None:
    manifest = rendered()
    newest = kubernetes_validate.latest_version()
    # What Prefect's worker demands and the cluster ignores: it stands in the wrong place.
    pod = manifest["spec"]["template"]["spec"]
    assert (pod.pop("completions"), pod.pop("parallelism")) == (1, 1)
    kubernetes_validate.validate(manifest, newest, strict=True)
    pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = ["one"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, newest, strict=True)


def test_it_asks_for_gpus_storage_and_shared_memory() -> None:
    manifest = rendered(gpus=4, shm_size="32Gi", memory="200Gi", home_claim="mine")
    pod, one = manifest["spec"]["template"]["spec"], container(manifest)
    assert one["image"] == IMAGE
    assert one["resources"] == {
        "limits": {"nvidia.com/gpu": 4, "memory": "200Gi"},
        "requests": {"cpu": "8", "memory": "200Gi"},
    }
    mounts = {mount["name"]: mount["mountPath"] for mount in one["volumeMounts"]}
    assert mounts == {"home": "/var/lib/cft", "shm": "/dev/shm", "tmp": "/tmp"}
    volumes = {volume.pop("name"): volume for volume in pod["volumes"]}
    assert volumes["home"] == {"persistentVolumeClaim": {"claimName": "mine"}}
    assert volumes["shm"] == {"emptyDir": {"medium": "Memory", "sizeLimit": "32Gi"}}
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    (toleration,) = pod["tolerations"]
    assert toleration["key"] == "nvidia.com/gpu"


def test_prefect_retries_and_the_cluster_cleans_up() -> None:
    manifest = rendered(finished_job_ttl=60)
    assert manifest["spec"]["backoffLimit"] == 0
    assert manifest["spec"]["ttlSecondsAfterFinished"] == 60
    assert manifest["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    values = {one["name"]: one.get("value") for one in container(manifest)["env"]}
    assert values["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"


def test_nothing_runs_as_root_or_could_become_it() -> None:
    manifest = rendered()
    pod = manifest["spec"]["template"]["spec"]
    user = document({"CFT_SECRETS_GID": "1"})["services"]["worker-gpu"]["user"]
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user, "the image's own user"
    assert pod["automountServiceAccountToken"] is False
    assert container(manifest)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_credentials_are_references() -> None:
    env = {one["name"]: one for one in container(rendered(secret_name="ours"))["env"]}
    keys = {
        "PREFECT_API_AUTH_STRING": "prefect-auth",
        "MLFLOW_TRACKING_USERNAME": "mlflow-username",
        "MLFLOW_TRACKING_PASSWORD": "mlflow-password",
    }
    for name, key in keys.items():
        assert env[name] == {
            "name": name,
            "valueFrom": {"secretKeyRef": {"name": "ours", "key": key}},
        }
    readme = (FOLDER / "README.md").read_text("utf-8")
    assert all(key in readme for key in keys.values())


def test_every_variable_is_used_and_every_use_is_a_variable() -> None:
    properties = TEMPLATE["variables"]["properties"]
    text = json.dumps(TEMPLATE["job_configuration"])
    used = {part.split("}}")[0].strip() for part in text.split("{{")[1:]}
    assert used == set(properties)
    Draft202012Validator.check_schema(TEMPLATE["variables"])
    for name, one in properties.items():
        if "default" in one:
            Draft202012Validator(
                one | {"definitions": TEMPLATE["variables"]["definitions"]}
            ).is_valid(one["default"]) or pytest.fail(f"{name}: its default does not fit")
    known = set(KubernetesWorker.get_default_base_job_template()["job_configuration"])
    assert set(TEMPLATE["job_configuration"]) == known


def test_the_deployment_fits_its_flow_and_the_pool() -> None:
    (one,) = planned(DEPLOYMENTS)
    assert one.full_name == "train/kubernetes"
    Draft202012Validator(TEMPLATE["variables"]).validate(one.job_variables)
    manifest = rendered(**one.job_variables)
    names = [entry["name"] for entry in container(manifest)["env"]]
    assert len(names) == len(set(names))
    assert "PREFECT_FLOWS_HEARTBEAT_FREQUENCY" in names
    pull = yaml.safe_load(DEPLOYMENTS.read_text("utf-8"))["pull"]
    assert pull[0]["prefect.deployments.steps.set_working_directory"] == {"directory": "/opt/cft"}
