"""What a benchmark leaves: a row a task, the summary of the rows, and metrics by stable names."""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from mteb.abstasks import AbsTask
from mteb.results import TaskResult
from pydantic import Field

from cft.evaluation.benchmarks.tasks import BENCHMARKS, REPORTED
from cft.recipe import Settings

State = Literal["run", "kept", "not run"]


class TaskRow(Settings):
    """One task: its scores, or why there are none.

    Attributes:
        task: name of the task.
        kind: mteb's type, such as ``STS``.
        state: ``run`` now, ``kept`` from an earlier call, or ``not run``.
        reason: why it was not run; empty otherwise.
        splits, subsets: what was evaluated.
        main_score: name of the score that ranks models on this task.
        scores: score by name, each the mean over splits and subsets; one that is undefined (a
            correlation with a constant) is absent.
        seconds: encoding and scoring, in the call that ran it.
    """

    task: str
    kind: str
    state: State
    reason: str = ""
    splits: tuple[str, ...] = ()
    subsets: tuple[str, ...] = ()
    main_score: str
    scores: dict[str, float] = Field({})
    seconds: float = 0.0

    @property
    def value(self) -> float | None:
        """The main score; None where the task was not run or the score is undefined."""
        return self.scores.get(self.main_score)


class BenchmarkResult(Settings):
    """One model on the tasks of one benchmark, in the order in which they were asked for."""

    benchmark: str
    model: str
    revision: str
    rows: list[TaskRow]

    @property
    def complete(self) -> bool:
        """Whether every task has a main score."""
        return all(row.value is not None for row in self.rows)

    @property
    def mean(self) -> float | None:
        """Mean of the main scores of the tasks that have one; None where none has."""
        values = [row.value for row in self.rows if row.value is not None]
        return float(np.mean(values)) if values else None

    def metrics(self) -> dict[str, float]:
        """Flat metrics for a tracker: ``mteb/<task>/<score>``, and counts.

        ``mteb/<benchmark>/mean`` is there only when every task of the benchmark has a score: a
        mean over other tasks is another figure, and would be compared with this one.
        """
        name = f"mteb/{self.benchmark}"
        scored = sum(row.value is not None for row in self.rows)
        flat = {
            f"mteb/{row.task}/{score}": value
            for row in self.rows
            for score, value in row.scores.items()
        }
        flat |= {f"{name}/tasks": len(self.rows), f"{name}/tasks_scored": scored}
        tasks = {row.task for row in self.rows}
        whole = tasks == set(BENCHMARKS.get(self.benchmark, tasks))
        if whole and self.complete and self.mean is not None:
            flat[f"{name}/mean"] = self.mean
        return flat


def scored_row(task: AbsTask, result: TaskResult, *, kept: bool) -> TaskRow:
    """The row of a task's result in mteb's format.

    Results nest: split, then subset, and a file may hold more of both than was asked for (all
    languages of STS17, say). Only what the task was narrowed to counts.
    """
    main_score = task.metadata.main_score
    names = dict.fromkeys((main_score, *REPORTED.get(task.metadata.type, ())))
    chosen: list[Mapping[str, object]] = [
        scores
        for split in task.eval_splits
        for scores in result.scores[split]
        if scores["hf_subset"] in task.hf_subsets
    ]
    means: dict[str, float] = {}
    for name in names:
        values = [scores.get(name, math.nan) for scores in chosen]
        if all(isinstance(one, int | float) and math.isfinite(one) for one in values):
            means[name] = float(np.mean(np.asarray(values, dtype=np.float64)))
    return TaskRow(
        task=task.metadata.name,
        kind=task.metadata.type,
        state="kept" if kept else "run",
        splits=tuple(task.eval_splits),
        subsets=tuple(task.hf_subsets),
        main_score=main_score,
        scores=means,
        seconds=round(result.evaluation_time or 0.0, 3),
    )


def absent_row(task: AbsTask, reason: str) -> TaskRow:
    """The row of a task that was not run."""
    return TaskRow(
        task=task.metadata.name,
        kind=task.metadata.type,
        state="not run",
        reason=reason,
        splits=tuple(task.eval_splits),
        subsets=tuple(task.hf_subsets),
        main_score=task.metadata.main_score,
    )
