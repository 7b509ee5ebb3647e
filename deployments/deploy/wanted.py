"""What the person who deploys has asked for; what is not asked for stays as it is."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cft.errors import CftError
from cft.home import HOME_VARIABLE, TRACKING_VARIABLE
from flows.environment import HEARTBEAT_SECONDS

LAMBDA_KEY = "LAMBDA_API_KEY"
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


@dataclass(frozen=True)
class Wanted:
    """Settings of a deployment to a server.

    Attributes:
        home: state folder of the flow runs. None: what the block has, else the default.
        tracking_uri: where they track. None: likewise.
        tracking_user: of the tracking server.
        tracking_password: of the tracking server.
        lambda_key: of Lambda Cloud's API, where machines are rented.
        only: names of deployments, such as ``two-stage/pilot``. Empty: all.
        heartbeat_seconds: between two signs of life of a flow run.
        skip_missed: call off what schedules have left while no worker was there, but the newest.
    """

    home: Path | None = None
    tracking_uri: str | None = None
    tracking_user: str | None = None
    tracking_password: str | None = field(default=None, repr=False)
    lambda_key: str | None = field(default=None, repr=False)
    only: tuple[str, ...] = ()
    heartbeat_seconds: int = HEARTBEAT_SECONDS
    skip_missed: bool = False

    def __post_init__(self) -> None:
        if self.tracking_uri and urlsplit(self.tracking_uri).password:
            raise CftError(
                f"{TRACKING_VARIABLE}: holds a password, which the UI would show; take it out and "
                f"set {USER} and {PASSWORD}"
            )

    @classmethod
    def from_environment(
        cls,
        home: Path | None,
        only: tuple[str, ...],
        heartbeat_seconds: int,
        skip_missed: bool = False,
    ) -> "Wanted":
        """The flags, and for the rest what the user has set; call it before anybody sets more.

        Raises:
            CftError: the address of the tracking server holds a password.
        """
        given = home or (Path(one) if (one := os.environ.get(HOME_VARIABLE)) else None)
        return cls(
            home=given.expanduser().absolute() if given else None,
            tracking_uri=os.environ.get(TRACKING_VARIABLE) or None,
            tracking_user=os.environ.get(USER) or None,
            tracking_password=os.environ.get(PASSWORD) or None,
            lambda_key=os.environ.get(LAMBDA_KEY) or None,
            only=only,
            heartbeat_seconds=heartbeat_seconds,
            skip_missed=skip_missed,
        )
