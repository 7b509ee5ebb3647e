"""The host's side of a job: what is new in its run directory, and how to end all of it.

It lies in the run directory beside :mod:`step_host` and :mod:`supervisor` and uses only what is
sent there and the standard library. Every answer is one line of JSON::

    python3 RUN/job_host.py sync '{"events.jsonl": 1234, ...}'
    python3 RUN/job_host.py stop GRACE
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

if __package__:
    from tasks.machine import process_table, step_host, supervisor
else:  # on a host they lie beside this file
    sys.path.insert(0, str(Path(__file__).resolve().parent))  # PYTHONSAFEPATH takes it away
    import process_table  # type: ignore[no-redef]
    import step_host  # type: ignore[no-redef]
    import supervisor  # type: ignore[no-redef]

CHUNK = 1 << 18  # bytes of one file in one answer
FOLLOWED = ("events.jsonl", "train-*.log", "supervisor.log")


def sync(run: Path, offsets: dict[str, int]) -> dict[str, Any]:
    """The state of the job, and what its growing files hold after these offsets.

    A file that is shorter than its offset is sent from its beginning. ``more`` says that another
    question has an answer at once; a state of ended counts only when it is false.
    """
    record = step_host._read(run / "supervisor.json")
    # In this order: what it wrote before its end is in the files by the time its end is seen.
    alive = step_host._alive(run) or _members(record)
    status = step_host._read(run / "status.json")
    files, more = {}, False
    for path in sorted({path for pattern in FOLLOWED for path in run.glob(pattern)}):
        size, start = path.stat().st_size, offsets.get(path.name, 0)
        start = start if start <= size else 0
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(CHUNK)
        if data or offsets.get(path.name) != start:
            files[path.name] = [start, base64.b64encode(data).decode()]
        more = more or start + len(data) < size
    if not alive and status.get("state", "running") in ("running", "waiting"):
        rebooted = record.get("boot_id") not in (None, "", process_table.boot_id())
        status |= {
            "state": "killed",
            "exit_code": None,
            "signal": None,
            "ended": time.time(),
            "reason": "the host rebooted" if rebooted else "the job and its supervisor vanished",
        }
        supervisor.write_json(run / "status.json", status)
    state = status.get("state", "running")
    beat = None
    with contextlib.suppress(OSError):
        beat = max(0.0, time.time() - (run / "heartbeat").stat().st_mtime)
    return {
        "state": ("waiting" if state == "waiting" else "running") if alive else state,
        "status": status,
        "supervisor": record,
        "files": files,
        "more": more,
        "heartbeat_age": beat,
        "free_bytes": shutil.disk_usage(run).free,
        "checkpoints": _checkpoints(run),
        "adapter": (run / "adapter").is_dir(),
    }


def stop(run: Path, grace: float) -> dict[str, Any]:
    """TERM to every process of the job, KILL after the grace; returns when none is left."""
    step_host.stop(run, grace)
    deadline = time.monotonic() + grace + 5
    while step_host._alive(run) and time.monotonic() < deadline:
        time.sleep(0.05)
    record = step_host._read(run / "supervisor.json")
    began = process_table.start_time(record.get("pid", 0))
    if step_host._alive(run) and began == record.get("start"):
        process_table.signal_all({record["pid"]}, 9)  # it hangs: its job is ended from here
    token = str(record.get("token", ""))
    left = set[int]()
    if token:
        left = process_table.end_all(lambda: process_table.members(token), grace, 5.0)
    return {"left": sorted(left)}


def _members(record: dict[str, Any]) -> bool:
    token = record.get("token")
    return bool(token and process_table.members(str(token)))


def _checkpoints(run: Path) -> list[str]:
    """Names of the complete ones, oldest first."""
    found = []
    for path in run.glob("checkpoints/checkpoint-*"):
        number = path.name.rpartition("-")[2]
        if number.isdigit():
            found.append((int(number), path.name))
    return [name for _, name in sorted(found)]


def answer(arguments: list[str]) -> dict[str, Any]:
    """The answer to the questions of the command line."""
    run = Path(__file__).resolve().parent
    if arguments[:1] == ["sync"] and len(arguments) == 2:
        return sync(run, json.loads(arguments[1]))
    if arguments[:1] == ["stop"] and len(arguments) == 2:
        return stop(run, float(arguments[1]))
    return {"problem": "usage: job_host.py sync OFFSETS | stop GRACE"}


if __name__ == "__main__":
    print(json.dumps(answer(sys.argv[1:])))
