"""A step: a script on a host that may take many minutes and does not die with the connection.

Fifteen minutes of apt over one channel is what gets disconnected. So the script runs detached under
the supervisor, in a folder of its own, and is asked for its state and its output in short
commands. A lost connection is no more than an answer that comes later; starting the same step
again attaches to it.
"""

import json
import logging
import re
import shlex
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from cft.errors import CftError
from tasks.machine import process_table, step_host, supervisor
from tasks.machine.remote import Clock, Remote, Result, SystemClock

logger = logging.getLogger("cft.machine")

ANSWER_SECONDS = 60.0
POLL_SECONDS = 1.0
SLOWEST_POLL = 10.0
TAIL = 30  # lines that an error may quote from
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,80}")
# In words that every Python 3 reads: one that is too old has to say so.
_PROGRAM = """\
import json, sys, types
asked = {asked!r}
if sys.version_info < {oldest!r}:
    version = ".".join(map(str, sys.version_info[:2]))
    begun = {{"problem": "python3 is %s; the host needs %s or newer" % (version, {needed!r})}}
else:
    for name in ("process_table", "step_host"):  # the second imports the first
        sys.modules[name] = types.ModuleType(name)
        exec(compile(asked[1][name + ".py"], name + ".py", "exec"), vars(sys.modules[name]))
    begun = sys.modules["step_host"].start(*asked)
print(json.dumps(begun))
"""


@dataclass(frozen=True)
class Step:
    """What runs, and where on the host.

    Attributes:
        name: names the folder too: of two steps with one name only one runs at a time.
        root: folder on the host under which the step's own is made; ``~/`` is the user's home.
        files: name to content, written into the step's folder for nobody else to read.
        command: ``{python}`` is the host's python3 and ``{folder}`` the step's folder.
        timeout: seconds after which the step is stopped.
    """

    name: str
    root: str
    files: dict[str, str]
    command: tuple[str, ...]
    timeout: float


@dataclass(frozen=True)
class StepEnd:
    """How a step ended.

    Attributes:
        exit_code: None when it was killed, or the host rebooted under it.
        lines: the last lines of its output.
        attached: whether another start had begun it.
    """

    exit_code: int | None
    lines: tuple[str, ...]
    attached: bool

    @property
    def last_words(self) -> str:
        """The last lines of output on one line, for an error message."""
        return " | ".join(line for line in self.lines[-5:] if line.strip())[:600] or "no output"


def run_step(
    remote: Remote,
    step: Step,
    *,
    on_line: Callable[[str], None] | None = None,
    clock: Clock | None = None,
) -> StepEnd:
    """Start a step, or attach to the one that runs, and follow it to its end.

    Args:
        remote: the host.
        step: what runs.
        on_line: gets every line of output, once.
        clock: by which the waiting is bounded.

    Raises:
        CftError: the step did not start, the host did not answer within the step's time, or the
            step was stopped because its time was over.
    """
    clock = clock or SystemClock()
    if not _NAME.fullmatch(step.name):
        raise CftError(f"step {step.name!r}: not a name; use a-z, 0-9 and dashes")
    deadline = clock.now() + step.timeout
    begun = _start(remote, step, clock, deadline)
    host = f"python3 {shlex.quote(str(begun['folder']) + '/step_host.py')}"
    offset, pause, tail, state = 0, POLL_SECONDS, deque[str](maxlen=TAIL), "running"
    with tqdm(desc=step.name, unit=" lines", leave=False) as bar:
        while True:
            seen = answer_of(remote.run(f"{host} poll {offset}", timeout=ANSWER_SECONDS)) or {}
            lines = str(seen.get("text", "")).splitlines()
            offset, state = int(seen.get("offset", offset)), str(seen.get("state", state))
            bar.update(len(lines))
            for line in lines:
                tail.append(line)
                if on_line is not None:
                    on_line(line)
            if state in step_host.ENDED:
                break
            if clock.now() >= deadline:
                remote.run(f"{host} stop", timeout=ANSWER_SECONDS)
                raise CftError(
                    f"{step.name}: not done within {step.timeout:.0f} s and stopped "
                    f"({tail[-1] if tail else 'no output'}); give it more time or look at "
                    f"{begun['folder']} on the host"
                )
            if lines:
                pause = POLL_SECONDS
            else:
                clock.sleep(pause)
                pause = min(pause * 1.5, SLOWEST_POLL)
    logger.info("%s: %s after %d lines", step.name, state, bar.n)
    code = None if state == "killed" else seen.get("exit_code")
    return StepEnd(code, tuple(tail), bool(begun["attached"]))


def _start(remote: Remote, step: Step, clock: Clock, deadline: float) -> dict[str, Any]:
    folder = f"{step.root.rstrip('/')}/steps/{step.name}"
    program = start_program(folder, step.files, list(step.command))
    while True:
        result = remote.run("exec python3 -", timeout=ANSWER_SECONDS, stdin=program)
        begun = answer_of(result)
        if begun is not None and "problem" not in begun:
            return begun
        if begun is not None:
            raise CftError(f"{step.name}: {begun['problem']}; mend that on the host and run again")
        # An answer that was lost is asked for again: a second start attaches.
        if result.exit_code is not None:
            raise CftError(
                f"{step.name}: python3 on the host did not start it ({result.last_words}); "
                "install Python 3.10 or newer there"
            )
        if clock.now() >= deadline:
            raise CftError(
                f"{step.name}: the host did not answer within {step.timeout:.0f} s; "
                "check the connection and run again"
            )
        clock.sleep(POLL_SECONDS)


def start_program(
    folder: str,
    files: dict[str, str],
    command: list[str],
    options: list[str] | None = None,
    session: str | None = None,
) -> bytes:
    """What ``python3 -`` on a host is fed to start a command: see :func:`step_host.start`.

    The host's own files go along. Nothing is quoted, and no file's content is seen in the host's
    list of processes.
    """
    own = {
        "process_table.py": source_of(process_table),
        "supervisor.py": source_of(supervisor),
        "step_host.py": source_of(step_host),
    }
    oldest = step_host.OLDEST
    return _PROGRAM.format(
        asked=(folder, own | files, command, options, session),
        oldest=oldest,
        needed=".".join(map(str, oldest)),
    ).encode()


def source_of(module: ModuleType) -> str:
    """The text of a module that is sent to hosts."""
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def answer_of(result: Result) -> dict[str, Any] | None:
    """The JSON object in the last line of what a host answered; None when there is none."""
    if not result.ok:
        return None
    try:
        value = json.loads(result.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return value if isinstance(value, dict) else None
