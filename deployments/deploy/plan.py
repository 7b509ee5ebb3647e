"""``prefect.yaml`` as data: each deployment with its flow and all of its parameters."""

import typing
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from pydantic import ValidationError

from cft.errors import CftError, problems_of
from cft.recipe import Settings

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "deployments" / "prefect.yaml"


@dataclass(frozen=True)
class Planned:
    """A deployment as the file has it, its flow imported."""

    flow: Flow[..., Any] = field(repr=False)
    name: str
    entrypoint: str
    description: str
    tags: list[str]
    pool: str
    job_variables: dict[str, Any]
    parameters: dict[str, Any]
    schedules: list[dict[str, Any]]

    @property
    def full_name(self) -> str:
        """``FLOW/NAME``, as everything in Prefect calls it."""
        return f"{self.flow.name}/{self.name}"


def planned(path: Path = FILE, only: tuple[str, ...] = ()) -> list[Planned]:
    """The deployments of the file.

    Args:
        path: the file.
        only: full names. Empty: all.

    Raises:
        CftError: a name is in no deployment, or a deployment's parameters do not fit its flow.
    """
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    every = [_planned(entry) for entry in document["deployments"]]
    names = [one.full_name for one in every]
    if unknown := [name for name in only if name not in names]:
        raise CftError(f"--only {', '.join(unknown)}: unknown; take of {', '.join(names)}")
    return [one for one in every if not only or one.full_name in only]


def _planned(entry: dict[str, Any]) -> Planned:
    # Prefect's own loader would go on with a module that cannot be imported, and deploy the flow
    # with a form that has no fields.
    module, _, function = entry["entrypoint"].rpartition(".")
    flow = getattr(import_module(module), function)
    return Planned(
        flow=flow,
        name=entry["name"],
        entrypoint=entry["entrypoint"],
        description=entry["description"],
        tags=entry["tags"],
        pool=entry["work_pool"]["name"],
        job_variables=entry["work_pool"]["job_variables"],
        parameters=expanded(flow, entry.get("parameters", {})),
        schedules=entry.get("schedules", []),
    )


def expanded(flow: Flow[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Parameters with every default written out, so that the form shows what a run will do.

    A tree with a field that only the person can give, and does not have here, is left as it is.

    Raises:
        CftError: a value does not fit.
    """
    hints = typing.get_type_hints(flow.fn)
    if unknown := given.keys() - flow.parameters.properties.keys():
        raise CftError(f"flow {flow.name}: no parameter {', '.join(sorted(unknown))}")
    full = dict(given)
    for name in flow.parameters.properties:
        tree: type[Settings] = hints[name]
        required = any(one.is_required() for one in tree.model_fields.values())
        if name not in given and required:
            continue
        try:
            values = tree.model_validate(given.get(name, {}))
        except ValidationError as error:
            raise CftError(f"{FILE}, {flow.name}: {problems_of(error)}") from None
        full[name] = values.model_dump(mode="json")
    return full
