"""The model registry: versions with their lineage, and the aliases that point at them."""

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

import cft
from cft.tracking.runs import JOB_TAG, TrackedRun, as_text, present

CANDIDATE = "candidate"
MODEL_CODE = Path(__file__).with_name("pyfunc_model.py")
# What loading the model imports. Explicit, so that MLflow need not import it all to find out.
REQUIREMENTS = ("torch", "transformers", "peft", "safetensors", "numpy", "pydantic", "tqdm")


def log_embedder(run: TrackedRun, *, adapter: Path, backbone: Path, backbone_digest: str) -> str:
    """Log an adapter as a loadable model of ``run``; the backbone stays where it is.

    The project's own code travels along, so the model loads wherever its requirements are
    installed and the backbone is present.

    Returns:
        The model's URI, ``models:/m-…``.
    """
    mlflow.set_tracking_uri(run.uri)
    with mlflow.start_run(run_id=run.id), warnings.catch_warnings():
        # It would rather have an example, whose check loads the whole model.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.")
        logged = mlflow.pyfunc.log_model(
            name="embedder",
            python_model=str(MODEL_CODE),
            artifacts={"adapter": str(adapter)},
            model_config={"backbone": str(backbone), "backbone_digest": backbone_digest},
            signature=signature(),
            pip_requirements=[f"{name}=={_released(name)}" for name in REQUIREMENTS],
            code_paths=[str(Path(cft.__file__).parent)],
            tags={"backbone_digest": backbone_digest},
        )
    run.client.update_run(run.id, status="RUNNING")  # leaving the block has closed it
    return logged.model_uri


def signature() -> ModelSignature:
    """A column of texts and an optional prompt in, one vector a text out."""
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string)]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, -1))]),
        params=ParamSchema([ParamSpec("prompt", DataType.string, "")]),
    )


def register(
    client: MlflowClient,
    model_uri: str,
    name: str,
    *,
    run_id: str,
    job: str,
    tags: Mapping[str, Any],
    description: str = "",
) -> ModelVersion:
    """Make a logged model a new version of ``name`` and point the alias ``candidate`` at it.

    A job registers once: when it is run again, the version that it made is returned.
    """
    try:
        client.create_registered_model(
            name, description="Sanskrit-English sentence embedder: a LoRA adapter per version."
        )
    except MlflowException as error:
        if not _is(error, RESOURCE_ALREADY_EXISTS):
            raise
    tags = {JOB_TAG: job} | present(tags)
    for one in client.search_model_versions(f"name = '{name}'"):
        if one.tags.get(JOB_TAG) == job and one.source == model_uri:
            made = one
            break
    else:
        made = client.create_model_version(
            name,
            source=model_uri,
            run_id=run_id,
            tags={key: as_text(value)[:5000] for key, value in tags.items()},
            description=description,
            model_id=model_uri.rpartition("/")[2],
        )
    client.set_registered_model_alias(name, CANDIDATE, made.version)
    return client.get_model_version(name, made.version)


def version_of(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that an alias points at, or None when the alias or the model is missing."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        # A missing model and a missing alias are answered with different codes.
        if _is(error, RESOURCE_DOES_NOT_EXIST):
            return None
        if _is(error, INVALID_PARAMETER_VALUE) and "not found" in str(error):
            return None
        raise


def _released(name: str) -> str:
    """The installed version without its local part: ``2.13.0+cpu`` is on no public index."""
    return version(name).partition("+")[0]


def _is(error: MlflowException, code: int) -> bool:
    return error.error_code == ErrorCode.Name(code)
