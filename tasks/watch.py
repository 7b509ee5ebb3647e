"""Watching a job: its log, its progress, its end. Nothing of Prefect or MLflow in here."""

import codecs
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cft.tracking.run_directory import RunDirectory
from tasks.machine.job import Handle, JobState, Machine

_BAR = re.compile(r"\d+%\|.*\|")  # a frame of a tqdm bar
_CHUNK = 1 << 18  # bytes of log read at once
_LINES = 40  # lines of log passed on at once; a flood stays in the file


class LogFollower:
    """New whole lines of the newest log of a run directory, from a byte offset on."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._path: Path | None = None
        self._offset = 0
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def skip_to_end(self) -> None:
        """Forget what was printed before: another watcher has passed it on."""
        if (path := self._newest()) is not None:
            self._path, self._offset = path, path.stat().st_size

    def lines(self, *, final: bool = False) -> list[str]:
        """Lines since the last call, without redraws of progress bars.

        ``final`` also gives a last line that has no newline.
        """
        path = self._newest()
        if path is None:
            return []
        if path != self._path or path.stat().st_size < self._offset:
            self._path, self._offset, self._rest = path, 0, ""
            self._decoder.reset()
        found: list[str] = []
        with path.open("rb") as file:
            file.seek(self._offset)
            while data := file.read(_CHUNK):
                self._offset += len(data)
                *whole, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
                found += whole
        if final:
            found.append(self._rest)
            self._rest = ""
        shown = (line.rsplit("\r", 1)[-1].rstrip() for line in found)
        return [line[:2000] for line in shown if line and not _BAR.search(line)]

    def _newest(self) -> Path | None:
        return max(self.run.path.glob("train-*.log"), default=None)


class NotWantedError(Exception):
    """The job was cancelled while it was watched."""


@dataclass
class Watch:
    """Follows one job to its end in the calling thread, where signals arrive.

    Attributes:
        say: gets the text of new log lines.
        progress: gets the percentage of steps that are done, from 0 to 100.
        deadline: seconds after which the job is stopped.
        cancelled: whether the job is not wanted any more.
        guard: asked at every look; what it raises is raised, and the job still runs.
        stall: seconds without a new event or log line after which the job is stopped.

    Both begin to count when the job does: one that waits for its slot may wait. The silence of a
    host that does not answer is no job's: it counts as no stall.
    """

    machine: Machine
    handle: Handle
    run: RunDirectory
    max_steps: int
    say: Callable[[str], None]
    progress: Callable[[float], None]
    deadline: float = 7 * 24 * 3600
    stall: float = 3600
    cancelled: Callable[[], bool] = lambda: False
    guard: Callable[[], None] = lambda: None
    interval: float = 0.5
    _log: LogFollower = field(init=False)
    _event_offset: int = field(init=False, default=0)
    _step: int = field(init=False, default=0)
    _shown: tuple[float, float] = field(init=False, default=(-1.0, 0.0))
    _waits_for: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._log = LogFollower(self.run)
        if self.handle.attached:
            self._log.skip_to_end()

    def until_done(self) -> JobState:
        """Poll until the job has ended.

        Raises:
            TimeoutError: the deadline passed, or the job showed no sign of life for too long.
            NotWantedError: it was cancelled.
                In both cases the job still runs: whoever called decides.
        """
        started = last_sign = time.monotonic()
        while True:
            state = self.machine.poll(self.handle)
            if self._pass_on(final=not state.running):
                last_sign = time.monotonic()
            if not state.running:
                return state
            if self.cancelled():
                raise NotWantedError("cancelled")
            self.guard()
            now = time.monotonic()
            if state.state == "waiting":
                started = last_sign = now
                if state.waits_for != self._waits_for:
                    self._waits_for = state.waits_for
                    self.say(f"waits for the slot that {state.waits_for} has")
            elif state.state in ("unheard", "fetching"):
                last_sign = now
            if now - started > self.deadline:
                raise TimeoutError(f"not done within {self.deadline:.0f} s")
            if now - last_sign > self.stall:
                raise TimeoutError(f"no event and no log line for {self.stall:.0f} s")
            time.sleep(self.interval)

    def _pass_on(self, *, final: bool) -> bool:
        lines = self._log.lines(final=final)
        for shown in lines[:_LINES]:
            self.say(shown)
        if len(lines) > _LINES:
            self.say(f"({len(lines) - _LINES} more lines in the log)")
        events, self._event_offset = self.run.read_events(self._event_offset)
        self._step = max([self._step, *(event.get("step") or 0 for event in events)])
        self._show(final=final)
        return bool(lines or events)

    def _show(self, *, final: bool) -> None:
        percent = min(100.0, 100.0 * self._step / self.max_steps)
        last, when = self._shown
        due = percent - last >= 1 and time.monotonic() - when >= 5
        if percent > last and (due or final or last < 0):
            self.progress(percent)
            self._shown = (percent, time.monotonic())
