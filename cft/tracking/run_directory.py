"""The run directory: all that connects a training or evaluation job to the world.

A job reads ``spec.json`` and writes events, a log, checkpoints, a result and a status. Whoever
watches reads the same files by byte offset, so a job needs no network, and a watcher that dies
comes back to find everything. Only the standard library and :mod:`cft.files` are used here: the
trainer, the flows and a supervisor on a bare machine share this module.
"""

import json
import math
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from cft.errors import CftError
from cft.files import append_line, read_lines, write_json

EventKind = Literal["metric", "param", "note"]
State = Literal["running", "finished", "failed", "killed"]


class RunDirectory:
    """Paths and records of one run."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    @property
    def spec(self) -> Path:
        """What to do; written before the start, never changed."""
        return self.path / "spec.json"

    @property
    def events(self) -> Path:
        """Append-only event log, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of resumable states; the newest complete one wins."""
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The result; it exists only when it is whole."""
        return self.path / "adapter"

    @property
    def status(self) -> Path:
        """State, pid, exit code, start and end; replaced whole."""
        return self.path / "status.json"

    def new_log(self) -> Path:
        """Create an empty ``train-<YYYYMMDDHHMMSS>.log`` and return its path."""
        self.path.mkdir(parents=True, exist_ok=True)
        while True:
            path = self.path / f"train-{datetime.now():%Y%m%d%H%M%S}.log"
            try:
                path.touch(exist_ok=False)
            except FileExistsError:  # started twice within a second
                time.sleep(0.1)
            else:
                return path

    def append_event(self, kind: EventKind, step: int | None = None, **values: Any) -> None:
        """Append one event as one line in one write.

        A metric or a param stores its values under ``values``; a note stores its fields
        (``text=...``) beside ``kind``. JSON has no NaN or infinity: they are written as the
        strings ``"nan"``, ``"inf"`` and ``"-inf"``, which ``float()`` reads.
        """
        event: dict[str, Any] = {"t": time.time(), "step": step, "kind": kind}
        if kind == "note":
            event |= finite(values)
        else:
            event["values"] = finite(values)
        append_line(self.events, event)

    def read_events(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Events from byte ``offset`` on, and the offset after the last whole line.

        A last line without its newline is left for the next call. A torn line in the middle
        (its writer was killed) is skipped.
        """
        lines, offset = read_lines(self.events, offset)
        return [event for event, _ in lines], offset

    def write_status(self, state: State, **fields: Any) -> None:
        """Replace ``status.json``.

        ``running`` begins a new record with ``pid`` and ``started`` (unix seconds); every other
        state keeps what is known, adds ``fields`` and sets ``ended``.
        """
        if state == "running":
            record: dict[str, Any] = {"pid": os.getpid(), "started": time.time()}
        else:
            record = self.read_status() | {"ended": time.time()}
        write_json(self.status, record | {"state": state} | fields)

    def read_status(self) -> dict[str, Any]:
        """The status, or an empty dictionary before the start.

        Raises:
            CftError: the file is not a JSON object.
        """
        try:
            record = json.loads(self.status.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CftError(f"{self.status}: not valid JSON ({error}); remove the file") from None
        if not isinstance(record, dict):
            raise CftError(f"{self.status}: not a JSON object; remove the file")
        return record

    def last_log_lines(self, count: int = 20) -> list[str]:
        """The last lines of the newest log, progress-bar redraws folded into one line each."""
        logs = sorted(self.path.glob("train-*.log"))
        if not logs:
            return []
        with logs[-1].open("rb") as file:
            file.seek(0, os.SEEK_END)
            # 64 KiB hold any sensible tail; a log of gigabytes is not read whole for it.
            file.seek(max(0, file.tell() - 65536))
            text = file.read().decode("utf-8", errors="replace")
        lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
        return [line for line in lines if line][-count:]


def finite(value: Any) -> Any:
    """``value`` with every non-finite float, at any depth, as a string."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value
