"""Forms of the flows about machines."""

from typing import Literal

from pydantic import Field

from cft.recipe import Settings
from tasks.machine.provider.settings import LambdaSettings
from tasks.machine.settings import MachineSettings


class SweepSettings(Settings):
    """Which rented machines are ended."""

    grace_minutes: float = Field(
        30.0,
        ge=0,
        le=24 * 60,
        description="Minutes for which the machine of a run is kept whose process died: its "
        "training may go on there, and a retry finds it.",
    )
    give_up_minutes: float = Field(
        20.0,
        gt=0,
        le=24 * 60,
        description="Minutes for all the ends of one sweep; the next one goes on.",
    )
    dry_run: bool = Field(False, description="Only say what would be ended.")
    cloud: LambdaSettings = Field(LambdaSettings(), description="How Lambda Cloud is asked.")


class NotebookSettings(Settings):
    """JupyterLab on another machine."""

    machine: MachineSettings = Field(
        MachineSettings(), description="Where: of kind ssh, or lambda for a rented one."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="cuda: only a machine whose GPUs can be used will do."
    )
    folder: str | None = Field(
        None, min_length=1, description="Folder to serve there. Empty: one below our own."
    )
    port: int = Field(0, ge=0, le=65535, description="Port on this machine; 0: a free one.")
    hours: float = Field(4.0, gt=0, le=72, description="Hours until it ends.")
    keep: bool = Field(
        False, description="Leave the server running when the flow ends, on a host of yours."
    )
