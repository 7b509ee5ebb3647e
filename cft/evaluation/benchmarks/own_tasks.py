"""Our own evaluation sets as mteb task classes: any mteb model can be scored on them.

``mteb.evaluate(model, TrikaRetrieval())`` needs nothing else of this package. Unlike the suites
here, mteb breaks ties by document id and gives no intervals.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTask, AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

from cft.corpora.evalset import EvalPair, EvalSet
from cft.corpora.trika import load_trika
from cft.errors import CftError
from cft.files import digest_json

SPLIT = "test"
_LANGUAGES = ["san-Deva", "eng-Latn"]
# One subset a direction: the query's language first, as bitext tasks name theirs.
DIRECTIONS = {
    "san_Deva-eng_Latn": ("sanskrit", "english"),
    "eng_Latn-san_Deva": ("english", "sanskrit"),
}


def _retrieval(name: str, description: str, domains: Sequence[str]) -> TaskMetadata:
    return TaskMetadata(
        name=name,
        description=description,
        dataset={"path": f"cft/{name}", "revision": "unread"},
        type="Retrieval",
        category="t2t",
        eval_splits=[SPLIT],
        eval_langs={subset: list(_order(subset)) for subset in DIRECTIONS},
        main_score="ndcg_at_10",
        domains=list(domains),
        # An instruction of its own: mteb would look the task up by name and not find it.
        prompt={"query": "Given a verse or its translation, retrieve the other"},
    )


def _sts(name: str, description: str, domains: Sequence[str]) -> TaskMetadata:
    return TaskMetadata(
        name=name,
        description=description,
        dataset={"path": f"cft/{name}", "revision": "unread"},
        type="STS",
        category="t2t",
        eval_splits=[SPLIT],
        eval_langs=_LANGUAGES,
        main_score="cosine_spearman",
        domains=list(domains),
        prompt="Retrieve semantically similar text",
    )


def _order(subset: str) -> Sequence[str]:
    return tuple(one.replace("_", "-") for one in subset.split("-"))


class _OfAnEvaluationSet(AbsTask):
    """Takes its data from an evaluation set, and its dataset revision from what that holds."""

    def __init__(self, evalset: EvalSet, **options: Any) -> None:
        rows = self.rows(evalset)
        if not rows:
            raise CftError(
                f"{self.metadata.name}: evaluation set {evalset.name} has no rows for it; "
                "give a set that has, or leave the task out"
            )
        self.evalset = evalset
        revision = digest_json([row.model_dump() for row in rows])
        dataset = {**self.metadata.dataset, "revision": revision}
        self.metadata = self.metadata.model_copy(update={"dataset": dataset})
        super().__init__(**options)

    @staticmethod
    def rows(evalset: EvalSet) -> Sequence[Any]:
        """The part of the set that the task is about."""
        raise NotImplementedError


class HeldOutRetrieval(_OfAnEvaluationSet, AbsTaskRetrieval):
    """A verse to its translation and back, over the pairs of an evaluation set."""

    metadata = _retrieval(
        "HeldOutRetrieval",
        "Held-out Sanskrit verses and their English, each retrieved by the other.",
        ["Religious", "Written"],
    )

    @staticmethod
    def rows(evalset: EvalSet) -> Sequence[Any]:
        return evalset.pairs

    def load_data(self, num_proc: int | None = None, **options: Any) -> None:
        """Lay the pairs out as corpus, queries and judgements, one subset a direction."""
        if not self.data_loaded:
            self.dataset = {
                subset: {SPLIT: _one_way(self.evalset.pairs, *DIRECTIONS[subset])}
                for subset in self.hf_subsets
            }
            self.data_loaded = True


def _one_way(pairs: Sequence[EvalPair], query: str, document: str) -> Any:
    """Texts are distinct on both sides of a set, so query q<n> has the one answer d<n>."""
    return {
        "queries": Dataset.from_list(
            [{"id": f"q{row}", "text": getattr(pair, query)} for row, pair in enumerate(pairs)]
        ),
        "corpus": Dataset.from_list(
            [
                {"id": f"d{row}", "text": getattr(pair, document), "title": ""}
                for row, pair in enumerate(pairs)
            ]
        ),
        "relevant_docs": {f"q{row}": {f"d{row}": 1} for row in range(len(pairs))},
        "top_ranked": None,
    }


class HeldOutSTS(_OfAnEvaluationSet, AbsTaskSTS):
    """Graded similarity over the STS pairs of an evaluation set."""

    metadata = _sts(
        "HeldOutSTS",
        "Held-out Sanskrit and English texts with graded similarity.",
        ["Religious", "Written"],
    )

    @staticmethod
    def rows(evalset: EvalSet) -> Sequence[Any]:
        return evalset.sts

    def load_data(self, num_proc: int | None = None, **options: Any) -> None:
        """Lay the graded pairs out in mteb's columns."""
        if not self.data_loaded:
            rows = [
                {"sentence1": pair.a, "sentence2": pair.b, "score": pair.score}
                for pair in self.evalset.sts
            ]
            self.dataset = DatasetDict({SPLIT: Dataset.from_list(rows)})
            self.data_loaded = True


class TrikaRetrieval(HeldOutRetrieval):
    """The 77 Śiva Sūtras and 53 verses of the Spanda Kārikā, each found by its English and back."""

    metadata = _retrieval(
        "TrikaRetrieval",
        "Śiva Sūtras and Spanda Kārikā: a verse retrieves its English rendering and back.",
        ["Religious", "Written"],
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(load_trika().to_evalset(), **options)


class TrikaSTS(HeldOutSTS):
    """Graded similarity (0 to 5) within and across Sanskrit and English over the Trika texts."""

    metadata = _sts(
        "TrikaSTS",
        "Śiva Sūtras and Spanda Kārikā: graded similarity of verses and renderings.",
        ["Religious", "Written"],
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(load_trika().to_evalset(), **options)


def _of_file(task: type[HeldOutRetrieval] | type[HeldOutSTS]) -> Callable[[Path | None], AbsTask]:
    def opened(evalset: Path | None) -> AbsTask:
        if evalset is None:
            raise CftError(
                f"task {task.metadata.name}: no evaluation set; name its JSON file with --eval-set"
            )
        return task(EvalSet.load(evalset))

    return opened


OWN_TASKS: dict[str, Callable[[Path | None], AbsTask]] = {
    "TrikaRetrieval": lambda _: TrikaRetrieval(),
    "TrikaSTS": lambda _: TrikaSTS(),
    "HeldOutRetrieval": _of_file(HeldOutRetrieval),
    "HeldOutSTS": _of_file(HeldOutSTS),
}
