"""The forms of the flows, as golden files. Written anew by ``python -m tests.schemas``."""

import json
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.utilities.callables import parameter_schema

from cft.files import write_json
from deployments.deploy.plan import planned

FOLDER = Path(__file__).parent / "data" / "schemas"


def golden(flow: str) -> dict[str, Any]:
    """The form of a flow as it was last agreed to."""
    return json.loads((FOLDER / f"{flow}.json").read_text(encoding="utf-8"))


def form(flow: Flow[..., Any]) -> dict[str, Any]:
    """The form that a flow has now, as a server keeps it."""
    return parameter_schema(flow).model_dump(exclude_unset=True)


def write() -> None:
    """Agree to the forms that the flows have now; read the difference before it is committed."""
    for one in planned():
        write_json(FOLDER / f"{one.flow.name}.json", form(one.flow))


if __name__ == "__main__":
    write()
