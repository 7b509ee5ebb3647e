"""Settings of renting: what may be spent, how long is waited, and where Lambda Cloud is asked."""

import math
from typing import Annotated

from pydantic import Field

from cft.recipe.base import Settings

Name = Annotated[str, Field(min_length=1, max_length=100)]


class RentSettings(Settings):
    """Bounds of one run's machines. There is no rental without them.

    ``max_cost`` and ``max_duration_hours`` hold for all the machines that a run rents one after
    another, since a machine that turned out bad was paid for as well.
    """

    instance_types: tuple[Name, ...] = Field(
        ("gpu_1x_a10", "gpu_1x_a100_sxm4", "gpu_1x_h100_pcie"),
        min_length=1,
        description="Types of machines as the provider names them, the preferred one first.",
    )
    regions: tuple[Name, ...] = Field(
        (), description="Regions, the preferred one first; none: wherever there is a machine."
    )
    image_family: str | None = Field(
        None, min_length=1, description="Family of the system image; none: the provider's newest."
    )
    max_price_per_hour: float = Field(
        5.0, gt=0, le=1000, description="US dollars per hour; a dearer machine is not launched."
    )
    max_cost: float = Field(
        25.0, gt=0, le=100_000, description="US dollars of the whole run; then it is released."
    )
    max_duration_hours: float = Field(
        8.0, gt=0, le=24 * 30, description="Hours of rented machines of the run; then released."
    )
    capacity_seconds: float = Field(
        1800.0, ge=0, le=24 * 3600, description="Seconds until a sold-out wish is given up."
    )
    boot_seconds: float = Field(
        1200.0, gt=0, le=3 * 3600, description="Seconds from the launch until it must be ready."
    )
    rerolls: int = Field(
        3, ge=0, le=20, description="How often a machine that turns out bad is replaced."
    )
    release_seconds: float = Field(
        1800.0,
        gt=0,
        le=24 * 3600,
        description="Seconds for the release of a bad machine, before which no other is rented.",
    )

    @property
    def max_cents_per_hour(self) -> int:
        """The highest price in whole US cents."""
        return math.floor(self.max_price_per_hour * 100 + 1e-6)


class LambdaSettings(Settings):
    """Where and how Lambda Cloud is asked. The API key is no setting: settings are logged."""

    base_url: str = Field(
        "https://cloud.lambda.ai/api/v1", description="Of the API, with its version."
    )
    request_seconds: float = Field(
        30.0, gt=0, le=300, description="Seconds for one request and its whole answer."
    )
    read_tries: int = Field(
        6, ge=1, le=20, description="How often a question is asked until it is answered."
    )
    ssh_port: int = Field(22, ge=1, le=65535, description="Of the SSH servers on the machines.")
