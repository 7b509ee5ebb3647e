"""The environment of a job on a host: found by its content, or built."""

import json
import logging
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cft.errors import CftError
from cft.files import digest_json
from tasks.machine.environment import builder
from tasks.machine.environment.settings import EnvironmentSettings
from tasks.machine.remote import Clock, Remote
from tasks.machine.step import Step, run_step

logger = logging.getLogger("cft.machine")

LOOK_SECONDS = 60.0


@dataclass(frozen=True)
class Contents:
    """What an environment holds.

    Attributes:
        constraints: text of a ``constraints.txt``: the version of everything.
        requirements: one each, as in ``pyproject.toml``.
        imports: modules that must be importable before it counts as whole.
    """

    constraints: str
    requirements: tuple[str, ...]
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Environment:
    """An environment that stands on a host.

    Attributes:
        key: digest of all that it was made from.
        python: absolute path of its interpreter on the host.
        cached: whether it stood already.
        installer: ``uv`` or ``pip``.
        seconds: that building it took.
        removed: keys of old environments that were removed on the way.
    """

    key: str
    python: str
    cached: bool
    installer: str
    seconds: float
    removed: tuple[str, ...] = ()


def environment_key(contents: Contents, settings: EnvironmentSettings, machine: str) -> str:
    """The name of an environment: the same for the same contents on the same kind of machine.

    Args:
        contents: what it holds.
        settings: of which the version of Python and the index count.
        machine: as ``uname -sm`` says it; wheels differ with it.
    """
    parts = [
        contents.constraints,
        sorted(contents.requirements),
        sorted(contents.imports),
        settings.python,
        settings.index,
        machine,
    ]
    return digest_json(parts)


def ensure_environment(
    remote: Remote,
    contents: Contents,
    settings: EnvironmentSettings,
    *,
    on_line: Callable[[str], None] | None = None,
    clock: Clock | None = None,
) -> Environment:
    """The environment on the host; built first when it does not stand.

    A build outlives the connection and whoever began it, so asking again after either was lost
    attaches to it. Of two at once only one builds.

    Args:
        remote: the host.
        contents: what it holds.
        settings: where it lies and how it is made.
        on_line: gets every line that the installer prints.
        clock: by which the waiting is bounded.

    Raises:
        CftError: it cannot be built, for a reason that is named, or not in the time that it has.
    """
    asked = remote.run("uname -sm", timeout=LOOK_SECONDS)
    if not asked.ok:
        raise CftError(f"the host does not answer `uname -sm` ({asked.last_words}); check it")
    key = environment_key(contents, settings, asked.stdout.strip())
    spec = {
        "key": key,
        "root": settings.root,
        "python": settings.python,
        "index": settings.index,
        "fetch_uv": settings.fetch_uv,
        "constraints": contents.constraints,
        "requirements": list(contents.requirements),
        "imports": list(contents.imports),
        "min_free_bytes": int(settings.min_free_gb * 1e9),
        "keep": settings.keep,
        "keep_days": settings.keep_days,
    }
    if (standing := _standing(remote, settings.root, key)) is not None:
        return standing
    step = Step(
        name=f"environment-{key}",
        root=settings.root,
        files={
            "builder.py": Path(builder.__file__).read_text(encoding="utf-8"),
            "spec.json": json.dumps(spec),
        },
        command=("{python}", "{folder}/builder.py", "{folder}/spec.json"),
        timeout=settings.timeout,
    )
    end = run_step(remote, step, on_line=on_line, clock=clock)
    said = end.lines[-1] if end.lines else ""
    if not said.startswith(builder.RESULT):
        how = "was killed" if end.exit_code is None else f"ended with exit code {end.exit_code}"
        raise CftError(f"environment {key}: its build {how} ({end.last_words}); run it again")
    result = json.loads(said.removeprefix(builder.RESULT))
    if "problem" in result:
        raise CftError(f"environment {key}: {result['problem']}")
    made = _environment(result)
    logger.info("environment %s: made by %s in %.0f s", key, made.installer, made.seconds)
    return made


def _standing(remote: Remote, root: str, key: str) -> Environment | None:
    """The environment when it stands: one question, since every job asks it."""
    place = f'"$HOME"/{shlex.quote(root[2:])}' if root.startswith("~/") else shlex.quote(root)
    record, used = shlex.quote(builder.RECORD), shlex.quote(builder.USED)
    look = f"cd {place}/{key} && cat {record} && echo && touch {used} && pwd && test -x bin/python"
    found = remote.run(look, timeout=LOOK_SECONDS)
    lines = found.stdout.split("\n")
    if not found.ok or len(lines) < 2:
        return None
    try:
        record_found = json.loads(lines[0])
    except ValueError:
        return None
    return _environment(record_found | {"python": f"{lines[1]}/bin/python", "cached": True})


def _environment(result: dict[str, object]) -> Environment:
    removed = result.get("removed")
    return Environment(
        key=str(result["key"]),
        python=str(result["python"]),
        cached=bool(result["cached"]),
        installer=str(result["installer"]),
        seconds=float(str(result["seconds"])),
        removed=tuple(removed) if isinstance(removed, list) else (),
    )
