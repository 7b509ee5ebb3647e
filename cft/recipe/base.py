"""What every node of the tree of settings is."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class FlagPrefix:
    """How the flags of a sub-tree begin on the command line (``lora-`` gives ``--lora-r``)."""

    text: str


class Settings(BaseModel):
    """Base of every node of the tree: immutable and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
