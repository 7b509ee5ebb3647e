"""Runs one command in a run directory, outlives whoever started it, and tells how it ended.

    python supervisor.py RUN_DIR [--grace SECONDS] -- COMMAND [ARGUMENT ...]

Only the standard library is used, so this one file can be copied to any machine. It keeps in
``RUN_DIR``:

    train-<YYYYMMDDHHMMSS>.log   everything the command prints
    supervisor.json              pids, start times, boot id: who to ask and whom to signal
    supervisor.lock              held (flock) while the supervisor lives, so a job runs once
    heartbeat                    touched every second
    status.json                  state, exit code or signal, start and end

Launchers put their ranks into sessions of their own, so a process group does not hold the whole
job. Every process of it is found by a token in its environment and by descent from the
supervisor, which adopts orphans; all of them get the signals. Exit codes: that of the command,
128 + signal, 3 when another supervisor holds the run directory.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

TOKEN = "CFT_JOB"  # environment variable that marks every process of a job
BUSY = 3  # exit code: the run directory has a living supervisor
PROC = Path("/proc")


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` whole; waits up to a minute for space on a full disk."""
    data = (json.dumps(value, indent=2) + "\n").encode()
    for attempt in range(60):
        beside = None
        try:
            handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).replace(path)
            return
        except OSError:
            if beside:
                with contextlib.suppress(OSError):
                    Path(beside).unlink()
            if attempt == 59:
                raise
            time.sleep(1)


def read_json(path: Path) -> dict[str, Any]:
    """The object in ``path``, or an empty one where there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def boot_id() -> str:
    """Changes with every boot; empty where the system has none."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def processes() -> dict[int, tuple[int, str]]:
    """Living processes: pid to (parent pid, start time). Zombies are dead."""
    table = {}
    if PROC.joinpath("self/stat").exists():
        for entry in PROC.iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    # The name in parentheses may itself hold spaces and parentheses.
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if fields[0] not in "ZX":
                        table[int(entry.name)] = (int(fields[1]), fields[19])
        return table
    listing = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,stat=,lstart="], capture_output=True, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        pid, parent, state, start = line.split(None, 3)
        if not state.startswith("Z"):
            table[int(pid)] = (int(parent), start.strip())
    return table


def start_time(pid: int) -> str | None:
    """When a living process began, or None: with the pid it names one process for ever."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if PROC.joinpath("self/stat").exists():
            return None
        return processes().get(pid, (0, None))[1]
    return None if fields[0] in "ZX" else fields[19]


def members(token: str, root: int | None = None) -> set[int]:
    """Pids of a job: those that carry its token, and the descendants of ``root`` (not itself)."""
    table = processes()
    found = {pid for pid in table if _carries(pid, token)}
    if root is not None:
        children: dict[int, list[int]] = {}
        for pid, (parent, _) in table.items():
            children.setdefault(parent, []).append(pid)
        queue = list(children.get(root, []))
        while queue:
            pid = queue.pop()
            if pid not in found:
                found.add(pid)
            queue.extend(children.get(pid, []))
        found.discard(root)
    return found - {os.getpid()}


def _carries(pid: int, token: str) -> bool:
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:  # gone, or another user's
        return False
    return f"{TOKEN}={token}".encode() in environment.split(b"\0")


def signal_all(pids: set[int], number: int) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_all(alive: Callable[[], set[int]], grace: float) -> None:
    """TERM to all, then KILL to those left after ``grace`` seconds, until none is left."""
    deadline = time.monotonic() + grace
    signal_all(alive(), signal.SIGTERM)
    while left := alive():
        if time.monotonic() >= deadline:
            signal_all(left, signal.SIGKILL)
        time.sleep(0.05)


class Supervisor:
    """One run of one command."""

    def __init__(self, run: Path, command: list[str], grace: float) -> None:
        self.run, self.command, self.grace = run, command, grace
        self.token = uuid.uuid4().hex
        self.stop_asked = self.stopped = False

    def main(self) -> int:
        """Run the command to its end and return the exit code for the shell."""
        self.run.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.run / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{self.run}: another supervisor runs here", file=sys.stderr)
            return BUSY
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        _adopt_orphans()
        self.started = time.time()
        log = self._new_log()
        try:
            with log.open("ab", buffering=0) as output:
                child = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=os.environ | {TOKEN: self.token, "PYTHONUNBUFFERED": "1"},
                )
        except OSError as error:
            log.write_text(f"{self.command[0]}: {error.strerror}\n", encoding="utf-8")
            self._record(None, log)
            self._finish(None, 127)
            return 127
        self._record(child, log)
        self._wait(child)
        # Ranks whose launcher died would go on for ever: nothing of the job may outlive its end.
        end_all(lambda: members(self.token, os.getpid()), self.grace)
        self._finish(child.pid, child.returncode)
        return child.returncode if child.returncode >= 0 else 128 - child.returncode

    def _stop(self, number: int, frame: Any) -> None:
        self.stop_asked = True

    def _new_log(self) -> Path:
        while True:
            path = self.run / f"train-{datetime.now():%Y%m%d%H%M%S}.log"
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                time.sleep(0.1)
            else:
                return path

    def _record(self, child: "subprocess.Popen[bytes] | None", log: Path) -> None:
        pid = child.pid if child else None
        write_json(
            self.run / "status.json", {"state": "running", "pid": pid, "started": self.started}
        )
        (self.run / "heartbeat").touch()
        write_json(
            self.run / "supervisor.json",
            {
                "token": self.token,
                "pid": os.getpid(),
                "start": start_time(os.getpid()),
                "child_pid": pid,
                "child_pgid": pid,
                "child_start": start_time(pid) if pid else None,
                "boot_id": boot_id(),
                "log": log.name,
                "command": self.command,
            },
        )

    def _wait(self, child: "subprocess.Popen[bytes]") -> None:
        next_beat = 0.0
        while child.poll() is None:
            if self.stop_asked:
                self.stopped = True
                end_all(lambda: members(self.token, os.getpid()), self.grace)
                child.wait()
                return
            if time.monotonic() >= next_beat:
                with contextlib.suppress(OSError):
                    (self.run / "heartbeat").touch()
                next_beat = time.monotonic() + 1
            time.sleep(0.05)

    def _finish(self, pid: int | None, returncode: int) -> None:
        """The last word on how it ended, whatever the job itself has written before."""
        if returncode < 0 or self.stopped:
            state = "killed"
        else:
            state = "failed" if returncode else "finished"
        claimed = read_json(self.run / "status.json")
        if "exit_code" in claimed:  # a launcher gives a code of its own
            claimed["job_exit_code"] = claimed["exit_code"]
        write_json(
            self.run / "status.json",
            claimed
            | {
                "state": state,
                "pid": pid,
                "exit_code": returncode if returncode >= 0 else None,
                "signal": -returncode if returncode < 0 else None,
                "started": self.started,
                "ended": time.time(),
            },
        )


def _adopt_orphans() -> None:
    """Become the parent of descendants whose parent dies (Linux; harmless elsewhere)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def main(arguments: list[str]) -> int:
    """Parse the command line and supervise."""
    head, dashes, command = arguments, "", []
    if "--" in arguments:
        cut = arguments.index("--")
        head, dashes, command = arguments[:cut], "--", arguments[cut + 1 :]
    grace = 10.0
    if len(head) == 3 and head[1] == "--grace":
        grace = float(head.pop())
        head.pop()
    if len(head) != 1 or not dashes or not command:
        print("usage: supervisor.py RUN_DIR [--grace SECONDS] -- COMMAND ...", file=sys.stderr)
        return 2
    return Supervisor(Path(head[0]).absolute(), command, grace).main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
