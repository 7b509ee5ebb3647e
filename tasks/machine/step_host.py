"""The host's side of a step: started once, asked often, alive without any connection.

Only the standard library is used and nothing newer than Python 3.10 is run, since this file is
sent to hosts that have nothing else. With :mod:`process_table` it is fed to ``python3 -`` together
with a call of :func:`start`; the copies that this leaves in the step's folder answer the later
questions::

    python3 FOLDER/step_host.py poll OFFSET
    python3 FOLDER/step_host.py stop

Every answer is one line of JSON. A step lives while the lock of its supervisor is held, which ends
with the process and with a reboot, or while any process carries its token, where the supervisor was
killed. So no pid is ever taken for another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if __package__:
    from tasks.machine import process_table
else:
    if "process_table" not in sys.modules:  # it was not fed along: it lies beside this file
        sys.path.insert(0, str(Path(__file__).resolve().parent))  # PYTHONSAFEPATH takes it away
    import process_table  # type: ignore[no-redef]

OLDEST = (3, 10)
START_SECONDS = 30.0
TMUX = ["-L", "cft", "-f", "/dev/null"]
CHUNK = 65536  # bytes of the log in one answer
GRACE = 10.0  # seconds between TERM and KILL for what a killed supervisor left
ENDED = ("finished", "failed", "killed")


def start(
    place: str,
    files: dict[str, str],
    command: list[str],
    options: list[str] | None = None,
    session: str | None = None,
) -> dict[str, Any]:
    """Write the files and start the command under the supervisor, or attach to the living one.

    Args:
        place: the step's folder; ``~`` is the user's home.
        files: name to content; only the user may read them.
        command: ``{python}`` is this interpreter and ``{folder}`` the step's folder.
        options: of the supervisor.
        session: name of the tmux session in which it runs, for people to look at; where the host
            has no tmux it runs as well, without.
    """
    folder = Path(place).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of two starts the second finds what the first began
            return _start(folder, files, command, options or [], session)
    except OSError as error:
        return {"problem": f"{folder}: {error.strerror}"}


def _start(
    folder: Path, files: dict[str, str], command: list[str], options: list[str], session: str | None
) -> dict[str, Any]:
    # The record is the only way to what a killed supervisor left: it is not written over.
    if _lives(folder):
        return {"attached": True, "folder": str(folder)}
    for name, content in files.items():
        _write(folder / name, content)
    records = [folder / "status.json", folder / "supervisor.json"]
    for record in records:  # the last run's end is not this one's
        record.unlink(missing_ok=True)
    known = {"{python}": sys.executable, "{folder}": str(folder)}
    words = [*options, "--", *command]
    for name, value in known.items():
        words = [word.replace(name, value) for word in words]
    words = [sys.executable, str(folder / "supervisor.py"), str(folder), *words]
    tmux = shutil.which("tmux") if session else None
    if tmux and session:
        # A server and settings of our own: a person's may be set up in any way.
        # What is left of the last one is the window of its log, which looks for its end at times.
        _tmux(tmux, "kill-session", "-t", f"={session}")
        output_file = shlex.quote(str(folder / "supervisor.log"))
        words = ["/bin/sh", "-c", f"exec {shlex.join(words)} >>{output_file} 2>&1"]
        words = [tmux, *TMUX, "new-session", "-d", "-s", session, "-n", "job", *words]
    with (folder / "supervisor.log").open("wb") as output:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if all(record.exists() for record in records):
            if tmux and session:
                _show_log(tmux, session, folder)
            return {"attached": False, "folder": str(folder), "tmux": bool(tmux)}
        # tmux itself ends at once, and well even where what it started has died already.
        if process.poll() is not None and (process.returncode or not tmux):
            break
        time.sleep(0.02)
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    said = (folder / "supervisor.log").read_text(errors="replace").split()
    return {"problem": f"{folder}: the supervisor did not start ({' '.join(said[-50:])})"}


def _show_log(tmux: str, session: str, folder: Path) -> None:
    """A second window that shows the log for as long as the supervisor lives."""
    record = _read(folder / "supervisor.json")
    shown = log_words(int(record["pid"]), folder / str(record["log"]))
    _tmux(tmux, "new-window", "-t", f"={session}:", "-n", "log", shlex.join(shown))


def log_words(pid: int, log: Path) -> list[str]:
    """The words that show a log as it grows, until a process has ended.

    Not ``tail --pid``: it takes a zombie for alive, and tmux may never reap the supervisor, since a
    SIGCHLD is lost while libutempter has a handler of its own in (tmux issues 311 and 4559). Then
    the window, its session and tmux's server would stay for ever.
    """
    state = 'sed -n "s/^State:.//p" "/proc/$0/status" || ps -o stat= -p "$0"'
    alive = f'{{ {state}; }} 2>/dev/null | grep -q "^[^ZX]"'
    script = f'tail -n 200 -F "$1" & while {alive}; do sleep 1; done; kill $!'
    return ["/bin/sh", "-c", script, str(pid), str(log)]


def _tmux(tmux: str, *words: str) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run([tmux, *TMUX, *words], timeout=10, capture_output=True)


def poll(folder: Path, offset: int) -> dict[str, Any]:
    """What the step does, and its output from a byte offset on, in whole lines while it lives."""
    alive = _lives(folder)
    # In this order: what it wrote before its end is in the log by the time its end is seen.
    status = _read(folder / "status.json")
    ended = status.get("state") in ENDED and not alive
    text, offset, more = _output(folder, offset, final=ended or not alive)
    state = status.get("state", "running") if alive or ended else "killed"
    return {
        "state": "running" if alive or more else state,
        "exit_code": status.get("exit_code"),
        "signal": status.get("signal"),
        "text": text,
        "offset": offset,
    }


def stop(folder: Path, grace: float = GRACE) -> dict[str, Any]:
    """Ask the supervisor to end every process of the step; where it was killed, end them here."""
    if _alive(folder):
        with contextlib.suppress(OSError, TypeError, ValueError):
            os.kill(int(_read(folder / "supervisor.json")["pid"]), signal.SIGTERM)
    else:
        process_table.end_all(lambda: _members(folder), grace, 5.0)
    return {"alive": _lives(folder)}


def _output(folder: Path, offset: int, *, final: bool) -> tuple[str, int, bool]:
    """Output after the offset, the offset after it, and whether there is more."""
    name = _read(folder / "supervisor.json").get("log")
    log = folder / str(name)
    if not name or not log.is_file():
        return "", offset, False
    size = log.stat().st_size
    with log.open("rb") as file:
        file.seek(offset if offset <= size else 0)
        start, data = file.tell(), file.read(CHUNK)
    whole = data.rfind(b"\n") + 1
    # A line longer than a chunk, and the last words of a step without a newline, go as they are.
    if (final and start + len(data) == size) or (not whole and len(data) == CHUNK):
        whole = len(data)
    return (
        data[:whole].decode(errors="replace"),
        start + whole,
        start + whole < size and bool(whole),
    )


def _lives(folder: Path) -> bool:
    return _alive(folder) or bool(_members(folder))


def _members(folder: Path) -> set[int]:
    """Processes of the step by the token in its record; a supervisor is none of them."""
    token = _read(folder / "supervisor.json").get("token")
    return process_table.members(str(token)) if token else set()


def _alive(folder: Path) -> bool:
    """Whether the supervisor lives."""
    try:
        handle = os.open(folder / "supervisor.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _write(path: Path, content: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def answer(arguments: list[str]) -> dict[str, Any]:
    """The answer to the questions of the command line."""
    folder = Path(__file__).parent
    if arguments[:1] == ["poll"] and len(arguments) == 2:
        return poll(folder, int(arguments[1]))
    if arguments == ["stop"]:
        return stop(folder)
    return {"problem": "usage: step_host.py poll OFFSET | stop"}


if __name__ == "__main__" and len(sys.argv) > 1:
    print(json.dumps(answer(sys.argv[1:])))
