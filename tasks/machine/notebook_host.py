"""The host's side of a notebook: starts the server, says where it listens, and ends all of it.

It lies in the notebook's folder beside :mod:`job_host`, :mod:`step_host` and :mod:`process_table`
and uses only them and the standard library. The supervisor runs ``serve``; every other answer is
one line of JSON::

    python3 NOTEBOOK/notebook_host.py serve
    python3 NOTEBOOK/notebook_host.py state
    python3 NOTEBOOK/notebook_host.py stop GRACE

The token is in files that only the user may read. It is in no command line and no environment, both
of which other programs of the user show, and Jupyter prints three dots for a token that it was
given.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

if __package__:
    from tasks.machine import job_host, process_table, step_host
else:  # on a host they lie beside this file
    sys.path.insert(0, str(Path(__file__).resolve().parent))  # PYTHONSAFEPATH takes it away
    import job_host  # type: ignore[no-redef]
    import process_table  # type: ignore[no-redef]
    import step_host  # type: ignore[no-redef]

SETTINGS, TOKEN_FILE, RUNTIME = "notebook.json", "token", "runtime"
LOOPBACK = "127.0.0.1"
LISTENS = "0A"  # state of a socket in /proc/net/tcp
SAID = 3  # lines of the log in an answer
PROC = Path("/proc")


def serve(folder: Path) -> None:
    """Become the server. What a person has set up for other servers here does not count.

    Raises:
        OSError: the interpreter cannot be started, or the served folder not be made.
    """
    asked = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    root = Path(asked["root"]).expanduser()
    root.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / RUNTIME, ignore_errors=True)  # where the last server listened
    (folder / RUNTIME).mkdir(mode=0o700)
    environment = {name: value for name, value in os.environ.items() if "JUPYTER" not in name}
    environment |= {
        "JUPYTER_TOKEN_FILE": str(folder / TOKEN_FILE),
        "JUPYTER_RUNTIME_DIR": str(folder / RUNTIME),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    if asked["code"]:
        environment["PYTHONPATH"] = asked["code"]
    command = [
        asked["python"],
        *["-m", "jupyterlab", "--no-browser"],
        f"--ServerApp.ip={LOOPBACK}",
        f"--ServerApp.port={asked['port']}",
        "--ServerApp.port_retries=0",
        "--ServerApp.base_url=/",
        "--ServerApp.allow_remote_access=False",
        "--ServerApp.allow_root=True",  # who logs in as root has decided that already
        f"--ServerApp.root_dir={root}",
    ]
    # Not into the root: a file there may have the name of a module that the server imports.
    os.chdir(folder)
    os.execvpe(command[0], command, environment)


def state(folder: Path) -> dict[str, Any]:
    """Whether the server lives, and once it listens, where; else the last words of its log."""
    record = step_host._read(folder / "supervisor.json")
    pid = record.get("child_pid")
    # A server whose supervisor was killed serves on; kernels whose server was killed do not.
    alive = step_host._alive(folder) or _started(pid) == record.get("child_start", "")
    left = not alive and job_host._members(record)
    found = step_host._read(folder / RUNTIME / f"jpserver-{pid}.json") if alive else {}
    answer = {"alive": alive, "left": left, "ready": False, "folder": str(folder)}
    token = _text(folder / TOKEN_FILE)
    if found and token and listens(int(pid or 0), int(found["port"])):
        if found["token"] != token or found["secure"]:
            answer["problem"] = (
                "the host's own Jupyter configuration sets another token or a certificate; "
                "take it out of /etc/jupyter and the environment's etc/jupyter"
            )
        # For a browser of the host, with the token in it; by itself it may be read by everybody.
        (folder / RUNTIME / f"jpserver-{pid}-open.html").unlink(missing_ok=True)
        answer |= {"ready": True, "pid": pid, "port": found["port"], "token": token}
        answer["root"] = found["root_dir"]
    elif not alive:
        answer["said"] = _text(folder / str(record.get("log"))).splitlines()[-SAID:]
    return answer


def stop(folder: Path, grace: float) -> dict[str, Any]:
    """End the server, its kernels and its terminals, and forget its token."""
    with (folder / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever starts one meanwhile waits, and starts a new one
        record = step_host._read(folder / "supervisor.json")
        was = step_host._alive(folder) or job_host._members(record)
        ended = job_host.stop(folder, grace)
        (folder / TOKEN_FILE).unlink(missing_ok=True)
        shutil.rmtree(folder / RUNTIME, ignore_errors=True)
        _end_session(folder)
    return {"was": was, **ended}


def _end_session(folder: Path) -> None:
    """Now: the window of the log ends by itself, but only when it has seen the supervisor's end."""
    session, tmux = step_host._read(folder / SETTINGS).get("session"), shutil.which("tmux")
    if session and tmux:
        step_host._tmux(tmux, "kill-session", "-t", f"={session}")


def listens(pid: int, port: int) -> bool:
    """Whether this very process listens on the loopback's port: its record is written before.

    Between the choice of a free port and the listening another process may take it; then the server
    ends. A system without ``/proc`` is only asked whether anybody listens.
    """
    if not PROC.joinpath("self/net/tcp").exists():
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((LOOPBACK, port)) == 0
    address = int.from_bytes(socket.inet_aton(LOOPBACK), sys.byteorder)
    try:
        rows = [line.split() for line in _text(PROC / str(pid) / "net/tcp").splitlines()[1:]]
        sockets = {
            f"socket:[{row[9]}]"
            for row in rows
            if row[1] == f"{address:08X}:{port:04X}" and row[3] == LISTENS
        }
        return any(str(one.readlink()) in sockets for one in (PROC / str(pid) / "fd").iterdir())
    except OSError:  # it ended, or closed a file, under our eyes
        return False


def _started(pid: int | None) -> str | None:
    return process_table.start_time(pid) if pid else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def answer(arguments: list[str]) -> dict[str, Any]:
    """The answer to the questions of the command line."""
    folder = Path(__file__).resolve().parent
    if arguments == ["state"]:
        return state(folder)
    if arguments[:1] == ["stop"] and len(arguments) == 2:
        return stop(folder, float(arguments[1]))
    return {"problem": "usage: notebook_host.py serve | state | stop GRACE"}


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve(Path(__file__).resolve().parent)
    print(json.dumps(answer(sys.argv[1:])))
