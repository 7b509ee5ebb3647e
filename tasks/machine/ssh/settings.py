"""How a host is reached: the part of a recipe that names a machine."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from cft.home import Home
from cft.recipe.base import Settings
from tasks.machine.ssh.known_hosts import Pin

MAX_CHANNELS = 6  # sshd allows ten sessions by default, and the heartbeat needs one of its own

Seconds = Annotated[float, Field(gt=0, le=3600)]


class HostSettings(Settings):
    """One host, and who we are there."""

    host: str = Field(
        description="Name or address.", min_length=1, max_length=255, pattern=r"^[^\s@/-][^\s@/]*$"
    )
    port: int = Field(default=22, description="Port of its SSH server.", ge=1, le=65535)
    user: str = Field(
        description="User to log in as.", min_length=1, max_length=64, pattern=r"^[^\s@:]+$"
    )
    identity: Path | None = Field(
        default=None,
        description="Private key file; without one, the keys of the running agent are shown.",
    )
    passphrase_variable: str | None = Field(
        default=None,
        description="Name of the environment variable that holds the key's passphrase.",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        max_length=128,
    )
    agent: bool = Field(
        default=True,
        description="Whether the agent may sign: in place of an encrypted key, or without a file.",
    )
    host_key: str | None = Field(
        default=None,
        description=(
            "The host's key, pinned: its SHA256:... fingerprint or a line 'ssh-ed25519 AAAA...'. "
            "Without it the first key that the host shows is kept, and any other refused after."
        ),
        max_length=4096,
    )

    @field_validator("host_key")
    @classmethod
    def _pin_can_be_read(cls, value: str | None) -> str | None:
        if value is not None:
            Pin.parse(value)
        return value

    @property
    def address(self) -> str:
        """``user@host:port``, for messages."""
        return f"{self.user}@{self.host}:{self.port}"


class SshSettings(HostSettings):
    """The host of a machine, the host before it if there is one, and how long we wait."""

    jump: HostSettings | None = Field(
        default=None, description="A host to go through (ProxyJump), with keys of its own."
    )
    connect_seconds: Seconds = Field(
        default=15.0, description="Seconds for the network connection and the key exchange, each."
    )
    authentication_seconds: Seconds = Field(
        default=30.0, description="Seconds the host may take to let us in."
    )
    command_seconds: Seconds = Field(
        default=60.0, description="Seconds a command may take that is given no time of its own."
    )
    heartbeat_seconds: Seconds = Field(
        default=5.0, description="Seconds of silence after which the host is asked for a sign."
    )
    dead_seconds: Seconds = Field(
        default=15.0, description="Seconds it may take to give one; then the connection is dead."
    )
    channels: int = Field(
        default=MAX_CHANNELS,
        description="Sessions at once on one connection (sshd's MaxSessions is 10).",
        ge=1,
        le=MAX_CHANNELS,
    )


def known_hosts_file(home: Home, machine: str) -> Path:
    """Where the host key of one machine is kept: never in the user's own file."""
    return home.path / "machines" / machine / "known_hosts"
