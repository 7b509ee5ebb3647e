"""Where a recipe trains: the machine, how it is reached or rented, and what may be done to it."""

from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from cft.errors import CftError, problems_of
from cft.recipe.base import Settings
from tasks.machine.driver.settings import DriverSettings
from tasks.machine.environment.settings import EnvironmentSettings
from tasks.machine.provider.settings import LambdaSettings, RentSettings
from tasks.machine.ssh.settings import SshSettings

Kind = Literal["local", "ssh", "lambda"]
BASE = "~/.cft-machine"


class MachineSettings(Settings):
    """The machine of a run. The recipe is the same on each of them."""

    kind: Kind = Field(
        "local",
        description="local: where the flow runs. ssh: a host you have. lambda: a rented machine of "
        "Lambda Cloud, which is given back when the training ends.",
    )
    ssh: SshSettings | None = Field(None, description="The host, for kind ssh.")
    more_hosts: list[SshSettings] = Field(
        [],
        description="Further hosts, for kind ssh, that train each run together with the first: all "
        "alike, with the same folders. First take one host with more GPUs.",
    )
    main_address: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="Address of the first host as the others reach it. Empty: ssh.host.",
    )
    main_port: int = Field(
        29500, ge=1024, le=65535, description="Free port there, for more_hosts alone."
    )
    rent: RentSettings = Field(
        RentSettings(), description="What may be rented and spent, for kind lambda."
    )
    cloud: LambdaSettings = Field(
        LambdaSettings(), description="How Lambda Cloud is asked, for kind lambda."
    )
    user: str = Field(
        "ubuntu", pattern=r"^[^\s@:]+$", max_length=64, description="User on a rented machine."
    )
    identity: str | None = Field(
        None,
        min_length=1,
        description="Private key file for rented machines. Empty: one that is made for them.",
    )
    driver: DriverSettings = Field(DriverSettings(), description="The check of its GPU driver.")
    environment: EnvironmentSettings = Field(
        EnvironmentSettings(), description="The Python environment that is built on it."
    )
    base: str = Field(
        BASE, pattern=r"^(~/|/).", description="Our folder on it: absolute, or with ~/, the home."
    )
    python: str | None = Field(
        None,
        min_length=1,
        description="An interpreter there that has all that training imports. Empty: an "
        "environment is built from the pinned versions.",
    )
    checkpoint_seconds: float = Field(
        600.0,
        ge=0,
        le=24 * 3600,
        description="Seconds after which the newest checkpoint is fetched; what a lost host costs.",
    )

    @model_validator(mode="after")
    def _host_for_ssh(self) -> Self:
        if self.kind == "ssh" and self.ssh is None:
            raise ValueError("kind ssh needs the host: set ssh.host and ssh.user")
        if self.more_hosts and self.kind != "ssh":
            raise ValueError(
                f"more_hosts: only kind ssh takes several hosts, and it is {self.kind}"
            )
        return self


def machine_from(text: str) -> MachineSettings:
    """The machine that a person names in one word.

    Args:
        text: ``local``, ``lambda``, ``USER@HOST``, ``USER@HOST:PORT`` or a YAML file with the
            fields of :class:`MachineSettings`.

    Raises:
        CftError: it is none of these; says what is.
    """
    if text in ("local", "lambda"):
        return MachineSettings(kind=text)
    user, at, place = text.partition("@")
    path = Path(text).expanduser()
    try:
        if path.is_file():
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise CftError(f"{text}: a machine is a mapping, such as 'kind: lambda'")
            return MachineSettings.model_validate(values)
        if at and user and place:
            host, _, port = place.partition(":")
            ssh = SshSettings.model_validate({"host": host, "user": user, "port": port or 22})
            return MachineSettings(kind="ssh", ssh=ssh)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CftError(f"{text}: not valid YAML ({error}); mend the file") from None
    except ValidationError as error:
        raise CftError(f"{text}: {problems_of(error)}") from None
    raise CftError(
        f"machine: {text!r} is neither local, lambda, USER@HOST[:PORT] nor a YAML file; see the "
        "README's section on machines"
    )
