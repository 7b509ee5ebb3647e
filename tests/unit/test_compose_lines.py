"""The lines of `docker compose` that the pages tell a person to type, held against compose.yaml.

Two things go wrong there without a word in the file: an image of ours that no selected service
builds is looked for on the hub, and `--wait` calls a one-shot that has ended unhealthy, unless a
selected service waits for its completion.
"""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.compose import DOCKER, ROOT, document

SERVICES = document({"CFT_SECRETS_GID": "1000"})["services"]
PAGES = (ROOT / "README.md", DOCKER / "README.md")
# These begin on a host that has no image; the others on one whose stack was started.
FRESH = ("First start", "For a team", "Restore")
STARTED = frozenset({SERVICES["prefect-server"]["image"]})
WITH_A_VALUE = ("-f", "--profile", "-v", "--output", "--scale")
COMPLETED = {"condition": "service_completed_successfully"}


@dataclass
class Line:
    """One command."""

    section: str
    text: str
    options: dict[str, list[str]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = iter(shlex.split(self.text)[2:])
        for part in parts:
            if part in WITH_A_VALUE:
                self.options.setdefault(part, []).append(next(parts))
            elif part.startswith("-"):
                self.options.setdefault(part, [])
            else:
                self.words.append(part)

    @property
    def verb(self) -> str:
        return self.words[0]

    def named(self) -> list[str]:
        """Services after the verb; of `run` the first word alone is one."""
        return self.words[1:2] if self.verb == "run" else self.words[1:]

    def selected(self) -> set[str]:
        """The named services, or all whose profile is on, with all that they need."""
        active = self.options.get("--profile", [])
        todo = self.named() or [
            name
            for name, one in SERVICES.items()
            if not one.get("profiles") or set(one["profiles"]) & set(active)
        ]
        found: set[str] = set()
        while todo:
            name = todo.pop()
            found.add(name)
            if self.verb != "build" and "--no-deps" not in self.options:
                todo += SERVICES[name].get("depends_on", {})
        return found


def lines(path: Path) -> list[Line]:
    found, section = [], ""
    for one in path.read_text("utf-8").replace("`docker compose", "\n$ docker compose").split("\n"):
        if one.startswith("## "):
            section = one.removeprefix("## ")
        elif one.startswith("$ docker compose"):
            found.append(Line(section, one.removeprefix("$ ").partition("`")[0]))
    return found


LINES = [one for page in PAGES for one in lines(page)]
each = pytest.mark.parametrize("line", LINES, ids=lambda one: f"{one.section}: {one.text}"[:90])


def test_the_pages_lines_are_found() -> None:
    assert set(FRESH) <= {one.section for one in LINES}
    assert {one.verb for one in LINES} == {"build", "up", "run", "stop", "down"}


@each
def test_it_names_the_file_and_services_that_are_there(line: Line) -> None:
    assert line.options["-f"] == ["docker/compose.yaml"]
    for name in line.named():
        assert name in SERVICES
        needed = SERVICES[name].get("profiles", [])
        assert set(needed) <= set(line.options.get("--profile", [])), "or it is not there"


@each
def test_what_is_waited_for_is_no_one_shot_that_nobody_waits_for(line: Line) -> None:
    if "--wait" not in line.options:
        return
    selected = line.selected()
    for name in selected:
        waiting = any(
            SERVICES[one].get("depends_on", {}).get(name) == COMPLETED for one in selected
        )
        assert "healthcheck" in SERVICES[name] or waiting, f"{name} ends, and so --wait fails"


@pytest.mark.parametrize("section", sorted({one.section for one in LINES}))
def test_images_of_ours_are_built_before_they_are_started(section: str) -> None:
    there = set() if section in FRESH else set(STARTED)
    for line in [one for one in LINES if one.section == section]:
        selected = line.selected()
        if line.verb == "build" or "--build" in line.options:
            there |= {SERVICES[one]["image"] for one in selected if "build" in SERVICES[one]}
        if line.verb in ("up", "run"):
            ours = {SERVICES[one]["image"] for one in selected}
            missing = {one for one in ours if re.match(r"cft-\w+:", one)} - there
            assert not missing, f"{line.text}: pulls {', '.join(sorted(missing))}"


def test_a_restoration_makes_the_bucket_and_needs_nothing_that_was_not_started() -> None:
    (started,) = [
        one for one in LINES if one.section == "Restore" and one.words[1:2] == ["postgres"]
    ]
    (restored,) = [one for one in LINES if one.section == "Restore" and one.verb == "run"]
    assert "objects-bucket" in restored.selected()
    left = restored.selected() - started.selected() - {"restore"}
    assert left == {"objects-bucket"}, "`run` starts what has ended once more"
