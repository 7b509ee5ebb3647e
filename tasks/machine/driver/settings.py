"""Settings of the driver check."""

from typing import Literal

from pydantic import Field

from cft.recipe.base import Settings

Policy = Literal["check", "install"]


class DriverSettings(Settings):
    """What may be done to a host's driver, and how long that may take."""

    policy: Policy = Field(
        "check",
        description="check changes nothing on the host. install may load, build and install the "
        "driver, and reboot the host once.",
    )
    # The oldest branch on which CUDA 13 runs, and the last one for GPUs before Turing.
    branch: int = Field(580, ge=535, le=999, description="Branch of the driver to install.")
    hold_upgrades: bool = Field(
        True,
        description="Mask unattended upgrades for good when a driver is installed, since an "
        "upgrade under a running job breaks it. No: only until the next boot.",
    )
    min_free_gb: float = Field(
        8.0, ge=0, le=1000, description="GB that must be free before a driver is installed."
    )
    install_seconds: float = Field(
        2700.0, gt=0, le=6 * 3600, description="Seconds that installing a driver may take."
    )
    boot_seconds: float = Field(
        900.0, gt=0, le=3600, description="Seconds until a host that reboots must answer."
    )
    first_boot_seconds: float = Field(
        600.0, gt=0, le=3600, description="Seconds that the host's own first set-up may take."
    )
    wait_seconds: float = Field(
        60.0, gt=0, le=600, description="Seconds between two tries when CUDA is not ready."
    )
