"""The model registry: versions with their lineage, and the aliases that point at them."""

import contextlib
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

import cft
from cft.files import digest_folder
from cft.home import TRACKING_VARIABLE
from cft.model.source import fetched_from
from cft.tracking.server_run import ServerRun, as_text, present

_GLOBAL = threading.Lock()  # MLflow's settings are those of the whole process
JOB_TAG = "cft.job"
CANDIDATE = "candidate"
MODEL_NAME = "embedder"
EXAMPLE = ("धर्मक्षेत्रे कुरुक्षेत्रे ।", "On the field of dharma, on the field of the Kurus.")
MODEL_CODE = Path(__file__).with_name("pyfunc_model.py")
# What loading the model imports. Explicit, so that MLflow need not import it all to find out.
REQUIREMENTS = ("torch", "transformers", "peft", "safetensors", "numpy", "pydantic", "tqdm")


def log_embedder(run: ServerRun, *, adapter: Path, backbone: Path, backbone_digest: str) -> str:
    """Log an adapter as a loadable model of ``run``; the backbone stays where it is.

    The project's own code travels along, so the model loads wherever its requirements are
    installed and the backbone is present. A run has one model: the same adapter again is the model
    that is there, and what a killed process has left half-logged is removed.

    Returns:
        The model's URI, ``models:/m-…``.
    """
    client = run.client
    tags = {"backbone_digest": backbone_digest, "adapter_digest": digest_folder(adapter)}
    for one in client.search_logged_models(
        [run.experiment_id], f"source_run_id = '{run.id}' AND name = '{MODEL_NAME}'"
    ):
        if one.status == LoggedModelStatus.READY and one.tags.items() >= tags.items():
            return one.model_uri
        if one.status != LoggedModelStatus.READY:
            client.delete_logged_model(one.model_id)
    config = model_config(backbone, backbone_digest)
    model = client.create_logged_model(
        run.experiment_id, name=MODEL_NAME, source_run_id=run.id, tags=config | tags
    )
    with tempfile.TemporaryDirectory(prefix="cft-model-") as scratch:
        folder = Path(scratch) / "model"
        save_embedder(
            folder,
            adapter=adapter,
            config=config,
            model=Model(run_id=run.id, model_uuid=model.model_id, model_id=model.model_id),
        )
        client.log_model_artifacts(model.model_id, str(folder))
    client.log_outputs(run.id, [LoggedModelOutput(model.model_id, step=0)])
    return client.finalize_logged_model(model.model_id, LoggedModelStatus.READY).model_uri


def save_embedder(folder: Path, *, adapter: Path, config: Mapping[str, str], model: Model) -> None:
    """Write an MLflow model into a new folder: the adapter, the code, and where the backbone is."""
    with warnings.catch_warnings():
        # It would rather have type hints, which cannot hold the prompt.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.")
        mlflow.pyfunc.save_model(
            folder,
            mlflow_model=model,
            python_model=str(MODEL_CODE),
            artifacts={"adapter": str(adapter)},
            model_config=dict(config),
            signature=signature(),
            input_example=list(EXAMPLE),
            pip_requirements=[f"{name}=={_released(name)}" for name in REQUIREMENTS],
            code_paths=[str(Path(cft.__file__).parent)],
        )
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)


def model_config(backbone: Path, digest: str) -> dict[str, str]:
    """Which backbone a model wants: its folder, its digest and, where it was fetched, its pin."""
    config = {"backbone": str(backbone), "backbone_digest": digest}
    if (pin := fetched_from(backbone)) is not None:
        config |= {"backbone_repo": pin.repo, "backbone_revision": pin.revision}
    return config


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

    A job registers once: when it is run again, the version that it made is returned. The alias
    stays where a newer version of another job has it.
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
        with _as_global(client.tracking_uri):
            made = client.create_model_version(
                name,
                source=model_uri,
                run_id=run_id,
                tags={key: as_text(value)[:5000] for key, value in tags.items()},
                description=description,
                model_id=model_uri.rpartition("/")[2],
            )
    candidate = version_of(client, name, CANDIDATE)
    if candidate is None or int(candidate.version) < int(made.version):
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


@contextlib.contextmanager
def _as_global(uri: str) -> Iterator[None]:
    """A registry in a database asks MLflow's global client for the model behind a version.

    The settings are the caller's own again afterwards, the environment's variable too.
    """
    with _GLOBAL:
        variable = os.environ.get(TRACKING_VARIABLE)
        before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
        if before == uri:
            yield
            return
        mlflow.set_tracking_uri(uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None: as if never set
            os.environ.pop(TRACKING_VARIABLE, None)
            if variable is not None:
                os.environ[TRACKING_VARIABLE] = variable


def _released(name: str) -> str:
    """The installed version without its local part: ``2.13.0+cpu`` is on no public index."""
    return version(name).partition("+")[0]


def _is(error: MlflowException, code: int) -> bool:
    return error.error_code == ErrorCode.Name(code)
