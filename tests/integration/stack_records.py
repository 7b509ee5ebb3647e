"""All that the two servers of a stack tell about what has run, as their APIs give it."""

from typing import Any

import httpx

_PAGE = 200  # the most that Prefect gives at once
_PREFECT = {
    "flow_runs": "flow_runs",
    "task_runs": "task_runs",
    "logs": "logs",
    "artifacts": "artifacts",
    "deployments": "deployments",
    "pools": "work_pools",
    "blocks": "block_documents",
    "automations": "automations",
    "variables": "variables",
}


def prefect_records(address: str, auth: str) -> dict[str, list[dict[str, Any]]]:
    """Prefect's records by their kind."""
    user, _, password = auth.partition(":")
    with httpx.Client(base_url=f"{address}/api", auth=(user, password), timeout=60) as client:
        token = client.get("/csrf-token", params={"client": "tests"}).raise_for_status().json()
        client.headers["Prefect-Csrf-Token"] = token["token"]
        client.headers["Prefect-Csrf-Client"] = "tests"
        return {kind: _all(client, f"/{name}/filter") for kind, name in _PREFECT.items()}


def _all(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        asked = {"limit": _PAGE, "offset": len(found)}
        answer = client.post(path, json=asked).raise_for_status().json()
        found += answer
        if len(answer) < _PAGE:
            return found


def tracking_records(address: str) -> dict[str, list[dict[str, Any]]]:
    """MLflow's runs, logged models, and registered models with their versions."""
    with httpx.Client(base_url=f"{address}/api/2.0/mlflow", timeout=60) as client:
        experiments = client.get("/experiments/search", params={"max_results": 100})
        ids = [one["experiment_id"] for one in experiments.raise_for_status().json()["experiments"]]
        runs = client.post("/runs/search", json={"experiment_ids": ids, "max_results": 1000})
        models = client.post("/logged-models/search", json={"experiment_ids": ids})
        versions = client.get("/model-versions/search", params={"max_results": 100})
        names = client.get("/registered-models/search", params={"max_results": 100})
    return {
        "runs": runs.raise_for_status().json().get("runs", []),
        "models": models.raise_for_status().json().get("models", []),
        "versions": versions.raise_for_status().json().get("model_versions", []),
        "registered": names.raise_for_status().json().get("registered_models", []),
    }
