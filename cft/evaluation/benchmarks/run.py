"""Run tasks one after the other: kept results are reused, data is freed, absence has a reason."""

import gc
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mteb
import torch
from mteb.abstasks import AbsTask
from mteb.cache import ResultCache
from mteb.models.model_meta import ModelMeta
from mteb.results import TaskResult
from tqdm import tqdm

from cft.errors import CftError
from cft.evaluation.benchmarks.local_data import LocalData, MissingDataError
from cft.evaluation.benchmarks.own_tasks import OWN_TASKS
from cft.evaluation.benchmarks.quiet import quiet_mteb
from cft.evaluation.benchmarks.result import BenchmarkResult, TaskRow, absent_row, scored_row
from cft.evaluation.benchmarks.tasks import TaskRequest

log = logging.getLogger(__name__)
_TEXTS_AT_ONCE = 1024  # rows that mteb hands over at a time; the encoder packs them itself
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")


class Results(ResultCache):
    """mteb's folder of results, in which a file that a killed process left half is no result."""

    def load_task_result(self, task_name: str, *model: Any, **options: Any) -> TaskResult | None:
        """The result that is kept, or None where there is none or only part of a file."""
        try:
            return super().load_task_result(task_name, *model, **options)
        except (ValueError, KeyError, TypeError) as error:
            log.warning(
                "%s: its result file in %s is not whole (%s); it is evaluated again",
                task_name, self.cache_path, _one_line(error),
            )  # fmt: skip
            return None


def run_tasks(
    model: Any,
    wanted: Sequence[TaskRequest],
    *,
    benchmark: str,
    output: Path,
    data: Path | None = None,
    hub: bool | None = None,
    progress: bool = True,
) -> BenchmarkResult:
    """Score a model on tasks; every finished task is a file in ``output`` before the next begins.

    Files are mteb's own: ``<output>/results/<model>/<revision>/<Task>.json``. A task whose file is
    there, for the same data, is not run again, so the same call after a crash or a kill goes on
    where it stopped. Of a task that has several subsets, those that are done are kept as well.

    Args:
        model: whatever ``mteb.evaluate`` takes and that has ``mteb_model_meta``.
        wanted: from :func:`cft.evaluation.benchmarks.tasks.requests`.
        benchmark: name in the summary and of the metrics, such as ``sts``.
        output: folder of the results.
        data: folder of local data (see :mod:`cft.evaluation.benchmarks.local_data`).
        hub: whether a task without local data is fetched. Empty: only where ``data`` is not given.
        progress: whether to show a bar and a summary line.

    Raises:
        CftError: the encoder's output is not usable. Tasks that are done stay done.
    """
    if data is not None and not data.is_dir():
        raise CftError(f"{data}: no such folder of task data; name one that exists")
    hub = data is None if hub is None else hub
    results = Results(output)
    meta: ModelMeta = model.mteb_model_meta
    rows: list[TaskRow] = []
    started = time.perf_counter()
    with tqdm(wanted, desc=f"{benchmark} tasks", unit="task", disable=not progress) as bar:
        for one in bar:
            bar.set_postfix_str(one.name)
            rows.append(_run(model, meta, one, results, data, hub))
            if rows[-1].state == "run":
                _free()
    found = BenchmarkResult(
        benchmark=benchmark, model=meta.name or "", revision=meta.revision or "", rows=rows
    )
    if progress:
        seconds = time.perf_counter() - started
        count = {state: sum(row.state == state for row in rows) for state in ("run", "kept")}
        log.info(
            "%s: %d tasks run, %d kept, %d not run in %.1f s (%.2f tasks/s)",
            benchmark, count["run"], count["kept"], len(rows) - sum(count.values()), seconds,
            count["run"] / max(seconds, 1e-9),
        )  # fmt: skip
    return found


def result_files(found: BenchmarkResult, output: Path) -> dict[str, Path]:
    """mteb's result files of the tasks that have one, by task."""
    results = Results(output)
    return {
        row.task: results.get_task_result_path(row.task, found.model, found.revision)
        for row in found.rows
        if row.state != "not run"
    }


def _run(
    model: Any,
    meta: ModelMeta,
    wanted: TaskRequest,
    results: Results,
    data: Path | None,
    hub: bool,
) -> TaskRow:
    task = wanted.open()
    local = None
    try:
        if data is not None and wanted.name not in OWN_TASKS:
            try:
                local = LocalData(task, data)
                local.attach()
            except MissingDataError:
                if not hub:
                    raise
        elif not hub and wanted.name not in OWN_TASKS:
            raise CftError("no folder of local data, and the hub is not to be asked")
        kept = results.load_task_result(task.metadata.name, meta)
        # mteb itself would take a whole result for one of these data whatever its revision.
        same = kept is not None and kept.dataset_revision == task.metadata.revision
        if kept is not None and same and not kept.get_missing_evaluations(task):
            return scored_row(task, kept, kept=True)
        with quiet_mteb():
            _load(task, local)
    except CftError as error:
        log.warning("%s: not run (%s)", wanted.name, error)
        return absent_row(task, str(error))
    with quiet_mteb():
        mteb.evaluate(
            model,
            task,
            cache=results,
            overwrite_strategy="only-missing" if same else "always",
            encode_kwargs={"batch_size": _TEXTS_AT_ONCE},
            co2_tracker=False,
            show_progress_bar=False,
        )
    # From the file, which is rounded: the same call again must print the same figures.
    written = results.load_task_result(task.metadata.name, meta, raise_if_not_found=True)
    assert written is not None
    return scored_row(task, written, kept=False)


def _load(task: AbsTask, local: LocalData | None) -> None:
    """Fill the task with data, apart from the evaluation: only this may fail for want of data."""
    if local is not None:
        local.load()
        return
    try:
        task.load_data()
    except CftError:
        raise
    except Exception as error:  # the hub, its caches and its formats have an error class each
        where = "the cache of the hub" if any(map(os.environ.get, _OFFLINE)) else "the hub"
        raise CftError(
            f"its data could not be had from {where} ({type(error).__name__}: {_one_line(error)}); "
            "lay it in a folder and name that with --data"
        ) from None


def _free() -> None:
    """Give back what the task held: corpora are gigabytes, and reference cycles keep them."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
