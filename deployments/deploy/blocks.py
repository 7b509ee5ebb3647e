"""Blocks: places and credentials that a person sees and changes in the UI.

Deployments refer to them, and the worker reads them when a run starts; so a changed block is what
the next run finds, and no password stands in a deployment.
"""

from pathlib import Path
from typing import Any, TypeVar

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from pydantic import Field, SecretStr

from cft.home import HOME_VARIABLE, TRACKING_VARIABLE, Home
from deployments.deploy.change import CREATED, UNCHANGED, UPDATED, Change
from deployments.deploy.wanted import LAMBDA_KEY, PASSWORD, USER, Wanted

DOCUMENT = "default"
MACHINE, MLFLOW, LAMBDA = "cft-machine", "cft-mlflow", "cft-lambda"
B = TypeVar("B", bound=Block)


class MachineBlock(Block):
    """The machine that the process workers run on."""

    _block_type_name = "cft machine"
    _block_type_slug = MACHINE
    _description = "Where flow runs keep their state on the workers' machine."

    home: str = Field(default=..., description="The state folder (CFT_HOME).")


class MlflowBlock(Block):
    """Where runs are tracked and models registered."""

    _block_type_name = "cft MLflow"
    _block_type_slug = MLFLOW
    _description = "The tracking server and the registry of models."

    tracking_uri: str = Field(
        default=..., description="Such as http://mlflow:5000, or sqlite:///FILE for no server."
    )
    username: str | None = Field(default=None, description="Where the server asks for one.")
    password: SecretStr | None = Field(default=None, description="Where the server asks for one.")


class LambdaBlock(Block):
    """The account at Lambda Cloud."""

    _block_type_name = "cft Lambda Cloud"
    _block_type_slug = LAMBDA
    _description = "The account that machines are rented from."

    api_key: SecretStr | None = Field(
        default=None, description="Of the API. Empty: LAMBDA_API_KEY of the worker, or no rentals."
    )


def environment_from_blocks() -> dict[str, str]:
    """Variables whose values the worker takes from the blocks when a run starts."""
    machine, mlflow, rented = (
        f"prefect.blocks.{slug}.{DOCUMENT}" for slug in (MACHINE, MLFLOW, LAMBDA)
    )
    return {
        HOME_VARIABLE: f"{{{{ {machine}.home }}}}",
        TRACKING_VARIABLE: f"{{{{ {mlflow}.tracking_uri }}}}",
        USER: f"{{{{ {mlflow}.username }}}}",
        PASSWORD: f"{{{{ {mlflow}.password }}}}",
        LAMBDA_KEY: f"{{{{ {rented}.api_key }}}}",
    }


def ensure_blocks(client: SyncPrefectClient, wanted: Wanted) -> list[Change]:
    """The three blocks, from what was asked for, else as they are, else the defaults."""
    before = stored(client, MachineBlock, DOCUMENT).get("home")
    home = str(wanted.home or before or Home.from_environment().path)
    tracked = stored(client, MlflowBlock, DOCUMENT).get("tracking_uri")
    if tracked is None or (before and tracked == _local(before)):
        tracked = _local(home)  # the store in the state folder moves with it
    mlflow = {
        "tracking_uri": wanted.tracking_uri or tracked,
        "username": wanted.tracking_user,
        "password": wanted.tracking_password,
    }
    return [
        ensure_block(client, MachineBlock, DOCUMENT, {"home": home}, {}),
        ensure_block(client, MlflowBlock, DOCUMENT, mlflow, {}),
        ensure_block(
            client, LambdaBlock, DOCUMENT, {"api_key": wanted.lambda_key}, {"api_key": None}
        ),
    ]


def _local(home: str) -> str:
    return Home(Path(home)).local_tracking_uri


def stored(client: SyncPrefectClient, kind: type[Block], name: str) -> dict[str, Any]:
    """The fields of a block document on the server, secrets included; empty where there is none."""
    try:
        document = client.read_block_document_by_name(
            name, kind.get_block_type_slug(), include_secrets=True
        )
    except ObjectNotFound:
        return {}
    return dict(document.data)


def ensure_block(
    client: SyncPrefectClient,
    kind: type[B],
    name: str,
    given: dict[str, Any],
    otherwise: dict[str, Any],
) -> Change:
    """Make a block document, or change the fields that were asked for.

    Args:
        client: of the server.
        kind: type of the block; it is registered, so that the UI has its form.
        name: of the document.
        given: fields that were asked for; None for those that were not.
        otherwise: values of fields that neither were asked for nor are there.
    """
    before = stored(client, kind, name)
    asked = {field: value for field, value in given.items() if value is not None}
    fields = otherwise | before | asked
    label = f"{kind.get_block_type_slug()}/{name}"
    kind.register_type_and_schema()
    if before and fields == before:
        document = client.read_block_document_by_name(name, kind.get_block_type_slug())
        return Change("block", label, UNCHANGED, str(document.id))
    identity = kind(**fields).save(name, overwrite=True)
    return Change("block", label, UPDATED if before else CREATED, str(identity))
