"""The steps of the two-stage job called in plain Python: no flow, no task, no Prefect server.

    python -m tests.benchmarks.plain RECIPE.json

What the orchestrator adds is then the difference to the same job as a flow.
"""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from cft.home import Home
from cft.recipe import validated
from flows.environment import prepare_environment

prepare_environment(Home.from_environment())

from prefect.logging import disable_run_logger  # noqa: E402

import flows.two_stage as job  # noqa: E402
import tasks.track  # noqa: E402
import tasks.train  # noqa: E402
from tasks.steps import Step, Steps  # noqa: E402


class PlainSteps(Steps):
    """The same record of steps, each made by the function under the task."""

    def reuse(self, name: str, task: Any, target: Path, *arguments: Any) -> Path:
        return Path(self.do(name, task, str(target), *arguments))

    def do(self, name: str, task: Any, *arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        made = task.fn(*arguments, **named)
        self.done.append(Step(name, time.perf_counter() - started, False))
        return made


def nothing(*arguments: Any, **named: Any) -> None:
    """In place of an artifact of a flow run: there is none."""


@contextlib.contextmanager
def unasked():
    """In place of asking the server whether the run was cancelled."""
    yield lambda: False


def main() -> None:
    """Run the recipe of the file that is named."""
    recipe = validated(json.loads(Path(sys.argv[1]).read_text("utf-8")), sys.argv[1])
    job.track_similarity, job.publish_report = job.track_similarity.fn, job.publish_report.fn
    tasks.track.create_markdown_artifact = nothing
    tasks.train.create_progress_artifact = tasks.train.update_progress_artifact = nothing
    tasks.train.asking = unasked
    with disable_run_logger():
        result = job.run_two_stage(recipe, "plain", PlainSteps())
    print(result["version"])


if __name__ == "__main__":
    main()
