"""compose.yaml as Docker Compose would read it: variables put in, anchors merged."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
FILE = DOCKER / "compose.yaml"

# A default may itself hold variables: ${A:-http://127.0.0.1:${B:-4200}}.
_VARIABLE = re.compile(
    r"\$\$|\$\{(?P<name>\w+)(?:(?P<way>:[-?])(?P<rest>(?:\$\{[^{}]*\}|[^{}])*))?\}"
)


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}``, as Compose puts them in.

    A default is read in the same way.

    Raises:
        KeyError: one that is demanded is not set; the message is the file's.
    """

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        given = variables.get(found["name"], "")
        if given or found["way"] is None:
            return given
        if found["way"] == ":?":
            raise KeyError(f"{found['name']}: {found['rest']}")
        return interpolated(found["rest"], variables)

    return _VARIABLE.sub(value, text)


def document(variables: Mapping[str, str], path: Path = FILE) -> dict[str, Any]:
    """The whole file."""

    def walked(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: walked(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walked(value) for value in node]
        return interpolated(node, variables) if isinstance(node, str) else node

    return walked(yaml.safe_load(path.read_text(encoding="utf-8")))


def started_by_default(services: Mapping[str, Any]) -> list[str]:
    """Names of the services without a profile, each after those that it depends on."""
    ordered: list[str] = []

    def add(name: str) -> None:
        for other in services[name].get("depends_on", {}):
            add(other)
        if name not in ordered:
            ordered.append(name)

    for name, service in services.items():
        if not service.get("profiles"):
            add(name)
    return ordered
