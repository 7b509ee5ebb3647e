"""Settings of the environment on a host, and the requirements that the project itself states."""

import tomllib
from pathlib import Path

from pydantic import Field, field_validator

from cft.errors import CftError
from cft.recipe.base import Settings


class EnvironmentSettings(Settings):
    """Where environments lie on a host, how they are made and how long they are kept."""

    root: str = Field(
        "~/.cft-machine/environments",
        pattern=r"^(~/|/).",
        description="Folder on the host. It begins with / or with ~/, the user's home.",
    )
    python: str = Field("3.11", pattern=r"^3\.\d{1,2}$", description="Version of Python.")
    index: str | None = Field(
        None,
        pattern=r"^(https|file)://\S+$",
        description="One more package index. Empty: torch as PyPI has it, built for CUDA. For a "
        "host without a GPU: https://download.pytorch.org/whl/cpu.",
    )
    fetch_uv: bool = Field(
        True,
        description="On a host that has neither this Python nor uv, install uv into our own "
        "folder; it then fetches the Python.",
    )
    min_free_gb: float = Field(
        12.0, ge=0, le=1000, description="GB that must be free before one is built."
    )
    timeout: float = Field(
        3600.0, gt=0, le=6 * 3600, description="Seconds that building one may take."
    )
    keep: int = Field(2, ge=1, le=100, description="Environments that are always kept.")
    keep_days: float = Field(
        14.0, ge=0, le=3650, description="Days after its last use when one may be removed."
    )

    @field_validator("index", mode="before")
    @classmethod
    def _without_password(cls, value: object) -> object:
        """Refuse a password: it would be written into files and logs on the host.

        Raises:
            CftError: there is one. A pydantic error would repeat the value.
        """
        if isinstance(value, str) and "@" in value.partition("://")[2].partition("/")[0]:
            raise CftError(
                "index: no user or password in the address; put them into ~/.netrc on the host"
            )
        return value


def project_requirements(pyproject: Path, *extras: str) -> tuple[str, ...]:
    """The requirements of the project in a ``pyproject.toml``.

    Args:
        pyproject: the file.
        extras: of the project; without any, what a bare machine needs to train. One that names
            another (``cft[eval]``) is followed.

    Raises:
        CftError: the file cannot be read, or has no such extra.
    """
    try:
        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
        name, optional = project["name"], project.get("optional-dependencies", {})
        found = dict.fromkeys(project.get("dependencies", []))
    except (OSError, ValueError, KeyError) as error:
        raise CftError(f"{pyproject}: no project's requirements ({error}); name another") from None
    queue, seen = list(extras), set[str]()
    while queue:
        extra = queue.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        if extra not in optional:
            known = ", ".join(sorted(optional)) or "none"
            raise CftError(f"{pyproject}: no extra {extra!r}; it has {known}")
        for requirement in optional[extra]:
            own = requirement.removeprefix(f"{name}[")
            if own != requirement:
                queue += [part.strip() for part in own.partition("]")[0].split(",")]
            else:
                found[requirement] = None
    return tuple(found)
