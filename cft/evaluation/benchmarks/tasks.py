"""Which tasks a benchmark has, and a task by its name, narrowed to the languages that count."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mteb
from mteb.abstasks import AbsTask
from mteb.abstasks.aggregated_task import AbsTaskAggregate

from cft.errors import CftError
from cft.evaluation.benchmarks.own_tasks import OWN_TASKS
from cft.evaluation.benchmarks.quiet import quiet_mteb

STS_TASKS = (
    "BIOSSES", "SICK-R", "STS12", "STS13", "STS14", "STS15", "STS16", "STS17", "STS22",
    "STSBenchmark",
)  # fmt: skip
_FORUMS = (
    "Android", "English", "Gaming", "Gis", "Mathematica", "Physics", "Programmers", "Stats",
    "Tex", "Unix", "Webmasters", "Wordpress",
)  # fmt: skip
RETRIEVAL_TASKS = (
    "ArguAna", "ClimateFEVER", *(f"CQADupstack{forum}Retrieval" for forum in _FORUMS), "DBPedia",
    "FEVER", "FiQA2018", "HotpotQA", "MSMARCO", "NFCorpus", "NQ", "QuoraRetrieval", "SCIDOCS",
    "SciFact", "Touche2020", "TRECCOVID",
)  # fmt: skip
BITEXT_TASKS = (
    "FloresBitextMining", "IN22GenBitextMining", "IN22ConvBitextMining", "BibleNLPBitextMining",
)  # fmt: skip
BENCHMARKS = {"sts": STS_TASKS, "retrieval": RETRIEVAL_TASKS, "bitext": BITEXT_TASKS}
ENGLISH = ("eng",)
# By language and not by script: BibleNLP files its Devanagari under san_Latn.
SANSKRIT_ENGLISH = ("san", "eng")

# What is reported of a task beside its main score, by type of task.
REPORTED = {
    "STS": ("cosine_spearman", "cosine_pearson"),
    "Retrieval": ("ndcg_at_10", "map_at_100", "mrr_at_100", "recall_at_100"),
    "BitextMining": ("f1", "accuracy"),
    "Classification": ("accuracy", "f1"),
}


@dataclass(frozen=True)
class TaskRequest:
    """A task that shall be run; opening it is cheap and loads no data.

    Attributes:
        name: mteb's name, or one of :data:`OWN_TASKS`.
        languages: ISO 639-3 codes. A subset counts when all its languages are among them, so the
            English of a multilingual task is ``en`` and not ``de-en``. Empty: every subset.
        splits: splits to evaluate. Empty: the task's own.
        evalset: evaluation set of the held-out tasks.
    """

    name: str
    languages: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    evalset: Path | None = None

    def open(self) -> AbsTask:
        """The task, narrowed, without data.

        Raises:
            CftError: the task holds nothing in these languages.
        """
        if self.name in OWN_TASKS:
            task = OWN_TASKS[self.name](self.evalset)
            return task.filter_eval_splits(self.splits or None)
        try:
            with quiet_mteb():
                return mteb.get_task(
                    self.name,
                    languages=self.languages or None,
                    eval_splits=self.splits or None,
                    exclusive_language_filter=bool(self.languages),
                )
        except ValueError:
            raise CftError(
                f"{self.name}: no subset in {'+'.join(self.languages)} alone; "
                "name the languages of the task with --languages"
            ) from None


def requests(
    names: Sequence[str],
    languages: Sequence[str] | None = (),
    splits: Sequence[str] = (),
    evalset: Path | None = None,
) -> list[TaskRequest]:
    """Requests for tasks by name, each opened once so that a slip is found before the first runs.

    A task that only adds up others, such as CQADupstackRetrieval, becomes those others. A name
    that is given twice is run once.

    Args:
        names: tasks of mteb, or ours.
        languages: of :class:`TaskRequest`; None for what each kind of task is usually asked in.
        splits: of :class:`TaskRequest`.
        evalset: of :class:`TaskRequest`.

    Raises:
        CftError: no task has such a name (similar names are offered), or it holds nothing in these
            languages, or the evaluation set of a held-out task is missing or wrong.
    """
    asked = dict.fromkeys(one for name in names for one in _expanded(name))
    if not asked:
        raise CftError("--tasks: empty; name a task")
    found = [
        TaskRequest(
            name,
            _usual_languages(name) if languages is None else tuple(languages),
            tuple(splits),
            evalset,
        )
        for name in asked
    ]
    for one in found:
        one.open()
    return found


def _usual_languages(name: str) -> tuple[str, ...]:
    """Those of the command for this kind of task: one name of a score means one set of subsets.

    A task that has nothing in them is asked in all of its own.
    """
    if name in OWN_TASKS:
        return ENGLISH
    kind = TaskRequest(name).open().metadata.type
    usual = SANSKRIT_ENGLISH if kind == "BitextMining" else ENGLISH
    try:
        TaskRequest(name, usual).open()
    except CftError:
        return ()
    return usual


def _expanded(name: str) -> Iterator[str]:
    if name in OWN_TASKS:
        yield name
        return
    try:
        with quiet_mteb():
            task = mteb.get_task(name)
    except KeyError:
        known = [*OWN_TASKS, *_known()]
        similar = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        folded = [one for one in known if one.lower() == name.lower()]
        offer = ", ".join(folded or similar)
        raise CftError(
            f"task {name}: mteb {mteb.__version__} has none of that name; "
            + (f"did you mean {offer}?" if offer else "see the names in mteb's documentation")
        ) from None
    if isinstance(task, AbsTaskAggregate):
        for part in task.metadata.tasks:
            yield from _expanded(part.metadata.name)
    else:
        yield name


@cache
def _known() -> tuple[str, ...]:
    with quiet_mteb():
        found = mteb.get_tasks(exclude_superseded=False, modalities=["text"])
    return tuple(task.metadata.name for task in found)
