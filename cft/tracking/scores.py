"""Scores of an evaluation in MLflow, tied to the registered version that earned them.

Names are stable: ``<suite>/<metric>``, such as ``trika/sa_en/mrr``, with the ends of the 95%
interval in ``…_low`` and ``…_high``, whatever the model, so that any two runs can be compared.
"""

import re
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from cft.errors import CftError, one_line
from cft.tracking.server_run import ServerRun

VERSION_TAG = "cft.model_version"
# Suites whose texts come with the package: what a version has seen of them is so for good. The
# texts of the others are a file's, and another file may be clean.
FIXED_SUITES = ("trika",)
_REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


def registered_version(client: MlflowClient, reference: str) -> ModelVersion | None:
    """The version that ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` means.

    None for every other reference, which names no registered model.

    Raises:
        CftError: the registry has no such model, version or alias.
    """
    try:
        return find_version(client, reference)
    except MlflowException as error:
        raise CftError(
            f"{reference}: not in the registry ({one_line(error)}); give a registered model as "
            "models:/NAME@ALIAS or models:/NAME/VERSION"
        ) from None


def find_version(client: MlflowClient, reference: str) -> ModelVersion | None:
    """As :func:`registered_version`, for those who tell what is absent from what is unreachable.

    Raises:
        MlflowException: as the client has it.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return None
    if found["alias"]:
        return client.get_model_version_by_alias(found["name"], found["alias"])
    return client.get_model_version(found["name"], found["version"])


def names_version(reference: str) -> bool:
    """Whether a reference is meant for the registry."""
    return _REFERENCE.fullmatch(reference) is not None


def logged_model(version: ModelVersion) -> str | None:
    """Id of the logged model behind a version; None where it was made of bare files.

    A registry in a database keeps the id in the source alone.
    """
    if version.model_id:
        return str(version.model_id)
    source = version.source or ""
    return source.removeprefix("models:/") if source.startswith("models:/m-") else None


def log_scores(
    run: ServerRun,
    suite: str,
    metrics: Mapping[str, float],
    *,
    version: ModelVersion | None = None,
    headline: Mapping[str, float] | None = None,
    contaminated: bool = False,
    at: float | None = None,
) -> None:
    """Log the scores of one suite; with a version also on its page and on the model behind it.

    Args:
        run: the model's run.
        suite: name of the suite, which goes before every metric.
        metrics: values by name, intervals included.
        version: the registered version that was evaluated.
        headline: the few values that stand as tags on the version, ``score.<suite>/<metric>``.
        contaminated: whether the model saw texts of the suite in training; stands beside them. On
            a version it is never taken back for a suite of :data:`FIXED_SUITES`, since an
            evaluation on another machine may not find what the version was trained on.
        at: unix seconds of the evaluation; now where it is missing.
    """
    named = {f"{suite}/{metric}": value for metric, value in metrics.items()}
    model_id = logged_model(version) if version else None
    run.metrics(named, model_id=model_id, at=at)
    run.tags({f"contaminated.{suite}": contaminated})
    if version is None:
        return
    run.tags({VERSION_TAG: f"{version.name}/{version.version}"})
    if model_id:
        run.client.log_inputs(run.id, models=[LoggedModelInput(model_id)])
    tags = {f"score.{suite}/{metric}": f"{value:.6g}" for metric, value in (headline or {}).items()}
    mark = f"contaminated.{suite}"
    known = run.client.get_model_version(version.name, version.version).tags.get(mark)
    contaminated |= suite in FIXED_SUITES and known == "true"
    tags |= {f"evaluation_run.{suite}": run.id, mark: str(contaminated).lower()}
    for key, value in tags.items():
        run.client.set_model_version_tag(version.name, version.version, key, value)
