"""Form of the flow that mends what died without a word."""

from pydantic import Field

from cft.recipe import Settings


class ReconcileSettings(Settings):
    """When a run counts as dead, and what is done about it."""

    dry_run: bool = Field(False, description="Say what would be mended, and mend nothing.")
    stale_minutes: float = Field(
        10.0,
        ge=0.1,
        le=1440,
        description="A run without heartbeat for so long is dead, where its process cannot be "
        "looked at; at least three times PREFECT_FLOWS_HEARTBEAT_FREQUENCY.",
    )
    grace_seconds: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="Workers and hooks are given so long to do it themselves, in seconds.",
    )
    max_retries: int = Field(
        3, ge=0, le=100, description="A crashed run is taken up again at most so often."
    )
    retry_hours: float = Field(
        24.0, gt=0, le=720, description="A run that crashed longer ago is left to a person."
    )
    lookback_days: float = Field(
        14.0, gt=0, le=365, description="How far back MLflow runs are compared with flow runs."
    )
