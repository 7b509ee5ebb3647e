"""Forms of the flows about machines."""

from pydantic import Field

from cft.recipe import Settings
from tasks.machine.provider.settings import LambdaSettings


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
