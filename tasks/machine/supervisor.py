"""Runs one command in a run directory, outlives whoever started it, and tells how it ended.

    python supervisor.py RUN_DIR [--grace SECONDS] [--slot FILE] [--timeout SECONDS] -- COMMAND ...

Only the standard library is used, so that this file, with :mod:`process_table` beside it, can be
copied to any machine. It keeps in ``RUN_DIR``:

    train-<YYYYMMDDHHMMSS>.log   everything the command prints
    supervisor.json              pids, start times, boot id: who to ask and whom to signal
    supervisor.lock              held (flock) while the supervisor lives, so a job runs once
    heartbeat                    touched every second
    status.json                  state, exit code or signal, start and end

Launchers put their ranks into sessions of their own, so a process group does not hold the whole
job. Every process of it is found by a token in its environment and by descent from the
supervisor, which adopts orphans; all of them get the signals. Exit codes: that of the command,
128 + signal, 3 when another supervisor holds the run directory.

A slot is a file whose lock (flock) only one job has: with ``--slot`` the command starts when the
lock is had, and until then the status is ``waiting`` and names the run that has it. The command
inherits the lock, and the file names the job's token, so that a slot whose supervisor was killed
is not given on while any process of the job is left. With ``--timeout`` a command that takes longer
is ended, whether anybody watches it or not; what it waited for its slot does not count.
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
from datetime import datetime
from pathlib import Path
from typing import Any

if __package__:
    from tasks.machine import process_table
else:  # started as a script, here or on a host: it lies beside this file
    sys.path.insert(0, str(Path(__file__).resolve().parent))  # PYTHONSAFEPATH takes it away
    import process_table  # type: ignore[no-redef]

BUSY = 3  # exit code: the run directory has a living supervisor
SLOT_INTERVAL = 0.25  # seconds between two looks at a slot that is taken


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


class Supervisor:
    """One run of one command."""

    def __init__(
        self,
        run: Path,
        command: list[str],
        grace: float,
        slot: Path | None = None,
        timeout: float | None = None,
    ) -> None:
        self.run, self.command, self.grace, self.slot = run, command, grace, slot
        self.timeout, self.reason = timeout, ""
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
        slot: list[int] = []
        if self.slot is not None:
            handle = self._take(self.slot, log)
            if handle is None:
                self.stopped = True
                self._finish(None, -signal.SIGTERM)
                return 128 + signal.SIGTERM
            slot.append(handle)
            self.started = time.time()  # what it waited is no part of the run
        try:
            with log.open("ab", buffering=0) as output:
                child = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=slot,
                    env=os.environ | {process_table.TOKEN: self.token, "PYTHONUNBUFFERED": "1"},
                )
        except OSError as error:
            log.write_text(f"{self.command[0]}: {error.strerror}\n", encoding="utf-8")
            self._record(None, log)
            self._finish(None, 127)
            return 127
        self._record(child, log)
        self._wait(child)
        # Ranks whose launcher died would go on for ever: nothing of the job may outlive its end.
        process_table.end_all(self._members, self.grace)
        self._finish(child.pid, child.returncode)
        return child.returncode if child.returncode >= 0 else 128 - child.returncode

    def _members(self) -> set[int]:
        return process_table.members(self.token, os.getpid())

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

    def _take(self, slot: Path, log: Path) -> int | None:
        """The handle that holds the slot's lock, or None when asked to stop while waiting."""
        slot.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(slot, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        shown: str | None = None
        while not self.stop_asked:
            locked = try_lock(handle)
            holder = read_json(slot)
            if locked and not (holder and process_table.members(str(holder.get("token")))):
                line = json.dumps({"run": str(self.run), "token": self.token, "pid": os.getpid()})
                os.pwrite(handle, line.encode() + b"\n", 0)
                os.ftruncate(handle, len(line) + 1)
                return handle
            if locked:  # the lock went with its launcher, but ranks are still there
                fcntl.flock(handle, fcntl.LOCK_UN)
            if (run := str(holder.get("run", "another job"))) != shown:
                self._record(None, log, {"state": "waiting", "waits_for": run, "slot": str(slot)})
                shown = run
            with contextlib.suppress(OSError):
                (self.run / "heartbeat").touch()
            time.sleep(SLOT_INTERVAL)
        os.close(handle)
        return None

    def _record(
        self,
        child: "subprocess.Popen[bytes] | None",
        log: Path,
        state: dict[str, Any] | None = None,
    ) -> None:
        pid = child.pid if child else None
        write_json(
            self.run / "status.json",
            {"state": "running", "pid": pid, "started": self.started} | (state or {}),
        )
        (self.run / "heartbeat").touch()
        write_json(
            self.run / "supervisor.json",
            {
                "token": self.token,
                "pid": os.getpid(),
                "start": process_table.start_time(os.getpid()),
                "child_pid": pid,
                "child_pgid": pid,
                "child_start": process_table.start_time(pid) if pid else None,
                "boot_id": process_table.boot_id(),
                "log": log.name,
                "command": self.command,
            },
        )

    def _wait(self, child: "subprocess.Popen[bytes]") -> None:
        next_beat, begun = 0.0, time.monotonic()
        while child.poll() is None:
            if self.timeout is not None and time.monotonic() - begun > self.timeout:
                self.reason = f"not done within {self.timeout:g} s"
                self.stop_asked = True
            if self.stop_asked:
                self.stopped = True
                process_table.end_all(self._members, self.grace)
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
                # Whether somebody wanted this end, or it befell the job.
                "stopped": self.stopped,
            }
            | ({"reason": self.reason} if self.reason else {}),
        )


def try_lock(handle: int) -> bool:
    """Take the lock (flock) of an open file, unless somebody has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
    options = {"--grace": "10", "--slot": "", "--timeout": ""}
    while len(head) >= 3 and head[-2] in options:
        *head, name, value = head
        options[name] = value
    if len(head) != 1 or not dashes or not command:
        print(
            "usage: supervisor.py RUN_DIR [--grace SECONDS] [--slot FILE] [--timeout SECONDS] "
            "-- COMMAND ...",
            file=sys.stderr,
        )
        return 2
    slot = Path(options["--slot"]).absolute() if options["--slot"] else None
    timeout = float(options["--timeout"]) if options["--timeout"] else None
    run, grace = Path(head[0]).absolute(), float(options["--grace"])
    return Supervisor(run, command, grace, slot, timeout).main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
