"""A person at another machine: two URLs, two passwords, and what they find there."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

from tests.integration.speaking import speaking_to


@dataclass(frozen=True)
class TeamClient:
    """No access to databases, buckets or volumes."""

    prefect_url: str
    mlflow_url: str
    prefect_password: str
    mlflow_password: str

    @contextlib.contextmanager
    def prefect(self) -> Iterator[SyncPrefectClient]:
        """Prefect's own client, as it is configured by two variables."""
        with (
            temporary_settings({PREFECT_API_AUTH_STRING: f"cft:{self.prefect_password}"}),
            speaking_to(f"{self.prefect_url}/api"),
            get_client(sync_client=True) as client,
        ):
            yield client

    @contextlib.contextmanager
    def mlflow(self) -> Iterator[MlflowClient]:
        """MLflow's own client, likewise."""
        with pytest.MonkeyPatch.context() as patch:
            # The registry too: else `models:/` is looked up in a store of the current folder.
            patch.setenv("MLFLOW_TRACKING_URI", self.mlflow_url)
            patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
            patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            patch.setenv("MLFLOW_TRACKING_PASSWORD", self.mlflow_password)
            yield MlflowClient(self.mlflow_url, self.mlflow_url)

    def environment(self) -> dict[str, str]:
        """Variables of a command line that speaks to both."""
        hidden = ("PREFECT_", "MLFLOW_", "CFT_")
        kept = {name: one for name, one in os.environ.items() if not name.startswith(hidden)}
        return kept | {
            "PREFECT_API_URL": f"{self.prefect_url}/api",
            "PREFECT_API_AUTH_STRING": f"cft:{self.prefect_password}",
        }


def seen_in_prefect(client: SyncPrefectClient) -> dict[str, Any]:
    """What the server knows, by id; secrets of blocks included."""
    return {
        "deployments": {
            str(one.id): (one.name, one.entrypoint, one.parameters, one.job_variables)
            for one in client.read_deployments()
        },
        "flow runs": {
            str(one.id): (one.name, one.state_name, one.parameters, one.total_run_time)
            for one in client.read_flow_runs()
            if not (one.state and one.state.is_scheduled())
        },
        "task runs": {str(one.id): (one.name, one.state_name) for one in client.read_task_runs()},
        "artifacts": {str(one.id): (one.key, one.data) for one in client.read_artifacts()},
        "blocks": {
            str(one.id): (one.name, one.data)
            for one in client.read_block_documents(include_secrets=True)
        },
        "variables": {one.name: one.value for one in client.read_variables()},
        "pools": sorted((one.name, one.concurrency_limit) for one in client.read_work_pools()),
    }


def seen_in_mlflow(client: MlflowClient, scratch: Path) -> dict[str, Any]:
    """Every run, every artifact's bytes (through the server), every version and alias."""
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(experiments)
    found: dict[str, Any] = {
        "runs": {
            one.info.run_id: (one.info.status, one.data.params, one.data.metrics, one.data.tags)
            for one in runs
        },
        "histories": {
            (one.info.run_id, name): [
                (point.step, point.value)
                for point in client.get_metric_history(one.info.run_id, name)
            ]
            for one in runs
            for name in one.data.metrics
            if name == "train/loss"
        },
        "artifacts": {},
        "versions": {
            (one.name, one.version): (one.source, one.run_id, one.tags, one.status)
            for one in client.search_model_versions()
        },
        "aliases": {
            one.name: client.get_registered_model(one.name).aliases
            for one in client.search_registered_models()
        },
    }
    sources = {one.info.run_id: f"runs:/{one.info.run_id}/" for one in runs}
    for name, version in found["versions"]:
        sources[f"{name}/{version}"] = f"models:/{name}/{version}"
    for name, uri in sources.items():
        folder = scratch / name.replace("/", "-")
        folder.mkdir(parents=True)
        mlflow.artifacts.download_artifacts(
            artifact_uri=uri, dst_path=str(folder), tracking_uri=client.tracking_uri
        )
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = (name, path.relative_to(folder).as_posix())
                found["artifacts"][key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def seen_below(folder: Path) -> dict[str, str]:
    """Digest of every file of a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
