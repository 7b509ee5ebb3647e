"""Steps of a flow: how long each took, and which of them were reused."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import Task, get_run_logger
from prefect.context import TaskRunContext

from cft.files import digest_json


@dataclass(frozen=True)
class Step:
    """One step that ended well."""

    name: str
    seconds: float
    reused: bool


def key_of_target(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Cache key of a task that makes one folder.

    The folder's name is the digest of everything that goes into it (settings, source files,
    code). The task's name keeps two makers apart, the place two state folders on one server.
    """
    target = Path(parameters["target"])
    return f"{context.task.name}-{target.name}-{digest_json(str(target.parent))[:8]}"


class Steps:
    """Runs the tasks of one flow run and keeps the record."""

    def __init__(self) -> None:
        self.done: list[Step] = []

    def reuse(self, name: str, task: Task[..., str], target: Path, *arguments: Any) -> Path:
        """Run a task that makes ``target``, unless it was made before and still stands.

        Prefect remembers results for longer than folders live: a remembered folder that somebody
        removed is made again.
        """
        standing = target.exists()
        return Path(
            self._timed(
                name,
                standing,
                lambda: _result(
                    task.with_options(refresh_cache=not standing, task_run_name=name),
                    str(target),
                    *arguments,
                ),
            )
        )

    def do(self, name: str, task: Task[..., Any], *arguments: Any, **named: Any) -> Any:
        """Run a task that is never answered from a cache."""
        named_task = task.with_options(task_run_name=name)
        return self._timed(name, False, lambda: _result(named_task, *arguments, **named))

    @property
    def reused(self) -> list[str]:
        """Names of the steps that were not run again."""
        return [step.name for step in self.done if step.reused]

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of every step, in order."""
        return {step.name: step.seconds for step in self.done}

    def to_json(self) -> list[dict[str, Any]]:
        """The record as plain data."""
        return [asdict(step) for step in self.done]

    def _timed(self, name: str, reused: bool, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        seconds = round(time.perf_counter() - started, 3)
        self.done.append(Step(name, seconds, reused))
        if reused:
            get_run_logger().info("%s: unchanged since an earlier run, reused", name)
        return result


def _result(task: Task[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a task in this thread, where signals arrive, and raise what it raised."""
    return task(*arguments, **named, return_state=True).result()
