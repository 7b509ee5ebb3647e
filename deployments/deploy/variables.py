"""Variables: what was deployed last."""

from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

from deployments.deploy.change import CREATED, UNCHANGED, UPDATED, Change

DEPLOYED = "cft_deployed"


def ensure_variable(client: SyncPrefectClient, name: str, value: Any) -> Change:
    """Make a variable, or set it."""
    found = client.read_variable_by_name(name)
    if found is None:
        made = client.create_variable(VariableCreate(name=name, value=value))
        return Change("variable", name, CREATED, str(made.id))
    if found.value == value:
        return Change("variable", name, UNCHANGED, str(found.id))
    client.update_variable(VariableUpdate(name=name, value=value))
    return Change("variable", name, UPDATED, str(found.id))
