"""Data of a task from a local folder instead of the hub.

The layout, below one folder; ``.tsv`` may be ``.parquet`` or ``.jsonl`` everywhere:

- ``<Task>/<split>.tsv``, or ``<Task>-<split>.tsv``: a task with one subset
- ``<Task>/<subset>/<split>.tsv``: a task with several, such as ``STS17/en-en/test.tsv``
- ``<Task>/[<subset>/]corpus.tsv``, ``queries.tsv`` and ``qrels/<split>.tsv``: retrieval, which is
  how BEIR's own archives are laid out

Columns, with others left out:

- STS: ``sentence1``, ``sentence2``, ``score``
- bitext mining: ``sentence1``, ``sentence2`` in a subset's folder, or one column for each
  language (``eng_Latn``, ``san_Deva``) in ``<Task>/<split>.tsv``, which serves both directions
- retrieval: ``id`` (or ``_id``), ``text`` and perhaps ``title`` of the corpus; ``id`` and ``text``
  of the queries; ``query-id``, ``corpus-id``, ``score`` of the qrels
- classification: ``text``, ``label``, for the training split as well

Files hold what is evaluated: what mteb does to the raw files of the hub is not done to them.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTask, AbsTaskClassification, AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining

from cft.errors import CftError
from cft.evaluation.benchmarks.tables import (
    SUFFIXES,
    numbers,
    read_table,
    require_texts,
    table_file,
)
from cft.files import digest_file, digest_json

log = logging.getLogger(__name__)
LOCAL = "local-"  # begins the dataset revision in the results: these are not the hub's files


class MissingDataError(CftError):
    """There is no local data for a task; the message says which file was looked for."""


class LocalData:
    """The local files of one task: found first, read when it is the task's turn.

    Attributes:
        revision: digest of the files' bytes; results of other files are not taken for these.
    """

    def __init__(self, task: AbsTask, folder: Path) -> None:
        """Find the files.

        Raises:
            MissingDataError: a file that the task needs is not there, or this type of task has no
                local layout.
            CftError: a file is there in two formats.
        """
        self._task = task
        self._folder = folder
        self._files: dict[tuple[str, str], dict[str, Path]] = {}
        for subset in task.hf_subsets:
            for split in self._splits():
                self._files[subset, split] = self._find(subset, split)
        # Of all that lies there for the task, so that another split adds to its results.
        name = task.metadata.name
        paths = {*(folder / name).rglob("*"), *folder.glob(f"{name}-*")}
        parts = [
            [path.relative_to(folder).as_posix(), digest_file(path)]
            for path in sorted(paths)
            if path.is_file() and path.suffix in SUFFIXES
        ]
        self.revision = LOCAL + digest_json(parts)

    def attach(self) -> None:
        """Name these files as the task's dataset revision, which is what its results are kept by.

        The metadata are shared by all tasks of the class, so this task gets its own copy.
        """
        metadata = self._task.metadata
        dataset = {**metadata.dataset, "revision": self.revision}
        self._task.metadata = metadata.model_copy(update={"dataset": dataset})

    def load(self) -> None:
        """Read the files into the task.

        Raises:
            CftError: a file is malformed; the message names it, and the row.
        """
        task = self._task
        found: dict[str, dict[str, Any]] = {}
        for (subset, split), files in self._files.items():
            found.setdefault(subset, {})[split] = _reader(task)(task, files, subset)
        data: Any = found
        if isinstance(task, AbsTaskClassification):
            _name_labels(found, task.label_column_name)
        if _is_parallel(task):
            data = DatasetDict({split: self._columns(split) for split in task.eval_splits})
        elif not isinstance(task, AbsTaskRetrieval):
            subsets = {subset: DatasetDict(splits) for subset, splits in found.items()}
            data = subsets if task.metadata.is_multilingual else subsets["default"]
        task.dataset = data
        task.data_loaded = True

    def _splits(self) -> list[str]:
        splits = list(self._task.eval_splits)
        if isinstance(self._task, AbsTaskClassification):
            splits.append(self._task.train_split)
        return list(dict.fromkeys(splits))

    def _find(self, subset: str, split: str) -> dict[str, Path]:
        """Files of a subset and split by their role."""
        name = self._task.metadata.name
        _reader(self._task)
        top = self._folder / name
        inner = top / subset
        if isinstance(self._task, AbsTaskRetrieval):
            folder = inner if self._task.metadata.is_multilingual else top
            return {
                "corpus": self._required(folder / "corpus"),
                "queries": self._required(folder / "queries"),
                "qrels": self._required(folder / "qrels" / split),
            }
        if isinstance(self._task, AbsTaskBitextMining):
            if not _is_parallel(self._task) and (own := table_file(inner / split)):
                return {"rows": own}
            return {"both": self._required(top / split)}
        if self._task.metadata.is_multilingual:
            return {"rows": self._required(inner / split)}
        flat = table_file(self._folder / f"{name}-{split}")
        return {"rows": flat if flat else self._required(top / split)}

    def _required(self, stem: Path) -> Path:
        found = table_file(stem)
        if found is None:
            raise MissingDataError(
                f"{stem}.tsv: not there (nor .parquet, .jsonl){self._others(stem)}"
            )
        return found

    def _others(self, stem: Path) -> str:
        """What there is instead, where that helps: a task is often kept with another split."""
        top = self._folder / self._task.metadata.name
        paths = {*stem.parent.glob("*"), *self._folder.glob(f"{top.name}-*")}
        names = sorted(
            path.relative_to(self._folder).as_posix()
            for path in paths
            if path.is_file() and path.suffix in SUFFIXES
        )
        return f"; there is {', '.join(names[:5])}" if names else ""

    def _columns(self, split: str) -> Dataset:
        languages = dict.fromkeys(
            one for subset in self._task.hf_subsets for one in subset.split("-")
        )
        path = self._files[self._task.hf_subsets[0], split]["both"]
        table = read_table(path, {one: (one,) for one in languages})
        require_texts(path, table, list(languages))
        return Dataset(table)


def _is_parallel(task: AbsTask) -> bool:
    return isinstance(task, AbsTaskBitextMining) and task.parallel_subsets


def _reader(task: AbsTask) -> Callable[[Any, dict[str, Path], str], Any]:
    for kind, (name, reader) in _READERS.items():
        # By name as well: reranking is a kind of retrieval that needs further files.
        if isinstance(task, kind) and task.metadata.type == name:
            return reader
    raise MissingDataError(
        f"{task.metadata.name}: tasks of type {task.metadata.type} are not read from local files; "
        "run it with --hub"
    )


def _sts(task: AbsTaskSTS, files: dict[str, Path], subset: str) -> Dataset:
    path = files["rows"]
    first, second = (str(name) for name in task.column_names)
    names = {first: (first, "sentence1"), second: (second, "sentence2"), "score": ("score",)}
    table = read_table(path, names)
    require_texts(path, table, [first, second])
    score = pa.array(numbers(path, table, "score"))
    return Dataset(table.set_column(table.column_names.index("score"), "score", score))


def _bitext(task: AbsTaskBitextMining, files: dict[str, Path], subset: str) -> Dataset | None:
    if _is_parallel(task):
        return None  # all subsets are columns of one table
    if "rows" in files:
        path, names = files["rows"], ["sentence1", "sentence2"]
    else:
        path, names = files["both"], subset.split("-")
    table = read_table(path, {name: (name,) for name in names})
    require_texts(path, table, names)
    return Dataset(table.select(names).rename_columns(["sentence1", "sentence2"]))


def _classification(task: AbsTaskClassification, files: dict[str, Path], subset: str) -> Dataset:
    path = files["rows"]
    text, label = str(task.input_column_name), task.label_column_name
    table = read_table(path, {text: (text, "text"), label: (label, "label")})
    require_texts(path, table, [text, label])
    return Dataset(table)


def _name_labels(found: dict[str, dict[str, Any]], name: str) -> None:
    """Labels become numbers in the order of their names, one numbering for all splits."""
    for splits in found.values():
        labels = sorted({one for data in splits.values() for one in data[name]})
        place = {label: number for number, label in enumerate(labels)}
        for split, data in splits.items():
            column = [place[one] for one in data[name]]
            splits[split] = data.remove_columns(name).add_column(name, column)


def _retrieval(task: AbsTaskRetrieval, files: dict[str, Path], subset: str) -> dict[str, Any]:
    ids = ("id", "_id")
    corpus = read_table(
        files["corpus"], {"id": ids, "text": ("text",), "title": ("title",)}, optional=("title",)
    )
    queries = read_table(files["queries"], {"id": ids, "text": ("text",)})
    require_texts(files["queries"], queries, ["text"])
    known = {}
    for role, table in (("corpus", corpus), ("queries", queries)):
        known[role] = set(table.column("id").to_pylist())
        if len(known[role]) < table.num_rows:
            raise CftError(f"{files[role]}: an id occurs twice; give every text its own")
    relevant = _judgements(files["qrels"])
    asked = [one in relevant for one in queries.column("id").to_pylist()]
    if not any(asked):
        raise CftError(
            f"{files['qrels']}: judges none of the queries of {files['queries'].name}; "
            "ids must be the same in both"
        )
    absent = {one for judged in relevant.values() for one in judged} - known["corpus"]
    if absent:
        log.warning(
            "%s: %d judged documents are not in the corpus, such as %s; nothing can find them",
            files["qrels"], len(absent), min(absent),
        )  # fmt: skip
    unasked = len(set(relevant) - known["queries"])
    if unasked:
        log.warning("%s: %d judged queries are not among the queries", files["qrels"], unasked)
    return {
        "corpus": Dataset(corpus),
        "queries": Dataset(queries.filter(pa.array(asked))),
        "relevant_docs": relevant,
        "top_ranked": None,
    }


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    table = read_table(path, {name: (name,) for name in ("query-id", "corpus-id", "score")})
    grades = numbers(path, table, "score")
    relevant: dict[str, dict[str, int]] = {}
    columns = (table.column(name).to_pylist() for name in ("query-id", "corpus-id"))
    for row, (query, document, grade) in enumerate(zip(*columns, grades, strict=True)):
        if grade != int(grade):
            raise CftError(f"{path}, row {row + 1}, score: {grade} is no whole grade; round it")
        relevant.setdefault(query, {})[document] = int(grade)
    return relevant


_READERS: dict[type[AbsTask], tuple[str, Callable[[Any, dict[str, Path], str], Any]]] = {
    AbsTaskSTS: ("STS", _sts),
    AbsTaskBitextMining: ("BitextMining", _bitext),
    AbsTaskRetrieval: ("Retrieval", _retrieval),
    AbsTaskClassification: ("Classification", _classification),
}
