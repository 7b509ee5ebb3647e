"""What a person is asked about a challenger that passed the gate: a form in the UI."""

from prefect.input import RunInput
from pydantic import ConfigDict, Field


class Approval(RunInput):
    """A person's word on a challenger that passed the gate."""

    model_config = ConfigDict(extra="forbid")

    approve: bool = Field(
        False, description="Make the challenger champion; otherwise it stays a candidate."
    )
    reason: str = Field("", max_length=300, description="Why, in words; kept in the history.")
