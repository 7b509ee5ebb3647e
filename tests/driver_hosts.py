"""Hosts with GPUs that are not here: what they answer, and how that changes with what is done."""

import ast
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tasks.machine.driver.parse import Facts, parse
from tasks.machine.driver.probe import COMMANDS, Probes
from tasks.machine.remote import Result

FOLDER = Path(__file__).parent / "data" / "driver"
HEALTHY = "healthy"


def answers_of(*names: str) -> dict[str, Result]:
    """The recorded answers of the healthy host, and over them those of the named files."""
    found: dict[str, Result] = {}
    for name in (HEALTHY, *names):
        text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
        for section in re.split(r"^== ", text, flags=re.MULTILINE)[1:]:
            head, _, body = section.partition("\n")
            probe, _, code = head.partition(" ")
            assert probe in COMMANDS, f"{name}.txt: there is no probe {probe}"
            lines = body.splitlines(keepends=True)
            found[probe] = Result(
                int(code or 0),
                "".join(line for line in lines if not line.startswith("!")),
                "".join(line[1:] for line in lines if line.startswith("!")),
            )
    assert found.keys() == COMMANDS.keys()
    return found


def facts_of(*names: str, **changes: Result) -> Facts:
    """The facts of a recorded host, some of its answers changed."""
    return parse(Probes(answers_of(*names) | changes))


def idle() -> list[str]:
    """No job of ours runs there."""
    return []


class FakeClock:
    """Minutes that pass at once."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: Callable[[float], None] = lambda seconds: None

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept(seconds)


@dataclass
class ScriptedHost:
    """A host whose answers change with what is done to it.

    Attributes:
        state: the recorded files that it answers from.
        becomes: what a plan (by its name), ``reboot`` or ``wait`` makes of it; without an entry
            nothing changes. A list is used up one by one.
        exits: exit codes of plans; 0 without an entry.
        reboots_well: whether it comes back from a reboot.
        silent: how many times it does not answer while it boots.
    """

    clock: FakeClock
    state: tuple[str, ...]
    becomes: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    changes: dict[str, Result] = field(default_factory=dict)
    reboots_well: bool = True
    silent: int = 3
    done: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    boots: int = 0
    _down: int = 0

    def __post_init__(self) -> None:
        # Between two probes a minute is waited, and only seconds for a boot.
        self.clock.slept = lambda seconds: self._do("wait") if seconds >= 60 else None

    def run(self, command: str, *, timeout: float, stdin: bytes | None = None) -> Result:
        assert timeout > 0
        if self._down:
            if self.reboots_well:
                self._down -= 1
            return Result(None)
        if stdin is not None:
            return self._begin(stdin.decode())
        if "step_host.py" in command:
            code = self.exits.get(self.done[-1], 0)
            state = "failed" if code else "finished"
            text = "E: what apt says\n" if code else ""
            return Result(0, json.dumps({"state": state, "exit_code": code, "text": text}))
        if "systemctl reboot" in command:
            self._do("reboot")
            self.boots, self._down = self.boots + 1, self.silent
            return Result(None)
        return self._answer(command)

    def _begin(self, program: str) -> Result:
        (asked,) = (line for line in program.splitlines() if line.startswith("asked = "))
        folder, files, command, *_ = ast.literal_eval(asked.removeprefix("asked = "))
        name = folder.rsplit("/", 1)[1]
        self.scripts.append(files["plan.sh"])
        self.commands.append(command)
        self._do(name)
        return Result(0, json.dumps({"attached": False, "folder": f"/home/ubuntu/{name}"}))

    def _do(self, what: str) -> None:
        self.done.append(what)
        if states := self.becomes.get(what):
            self.state = states.pop(0)

    def _answer(self, command: str) -> Result:
        inner = shlex.split(command)[-1]
        if "cloud-init status --wait" in inner:
            self._do("first set-up")
            return Result(0)
        for name, asked in COMMANDS.items():
            if inner.endswith(f"export PATH; {asked}"):
                if name == "boot_id":
                    return Result(0, f"boot-{self.boots}\n")
                return (answers_of(*self.state) | self.changes)[name]
        raise AssertionError(f"nobody asks a host this: {command}")
