"""Pages that a push opens: of a run in Prefect, of a run or a version in MLflow."""

import os

from prefect.utilities.urls import url_for

from cft.home import Home

PREFECT_UI = "http://127.0.0.1:4200"  # where `prefect server start` serves by default
MLFLOW_UI = "http://127.0.0.1:5000"  # and `mlflow ui`
# A tracking server inside a private network has another name for those outside of it, as Prefect
# has with PREFECT_UI_URL.
MLFLOW_UI_VARIABLE = "CFT_MLFLOW_UI_URL"


def flow_run_page(flow_run_id: str) -> str:
    """The run in Prefect's UI."""
    return url_for("flow-run", obj_id=flow_run_id, default_base_url=PREFECT_UI) or PREFECT_UI


def tracked_run_page(home: Home, experiment_id: str, run_id: str) -> str:
    """The run in MLflow's UI."""
    return f"{_mlflow(home)}/#/experiments/{experiment_id}/runs/{run_id}"


def version_page(home: Home, model: str, version: str) -> str:
    """A registered version in MLflow's UI."""
    return f"{_mlflow(home)}/#/models/{model}/versions/{version}"


def _mlflow(home: Home) -> str:
    if given := os.environ.get(MLFLOW_UI_VARIABLE):
        return given.rstrip("/")
    uri = home.tracking_uri
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else MLFLOW_UI
