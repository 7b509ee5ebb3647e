"""What an encoder put before the right answer, query by query.

Suffixes: P pairs, Q distinct queries, K kept neighbours. Everything is read from the arrays of a
result, so that it is what the figures were computed from, prompts included.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from cft.evaluation.metrics import TIE

SIDES = {"sa_en": ("sanskrit", "english"), "en_sa": ("english", "sanskrit")}
NEEDED = ("rank", "query_id", "document_id", "neighbours", "neighbour_cosine", "occurrences")


@dataclasses.dataclass(frozen=True)
class Miss:
    """A query whose right answer is not in first place.

    Attributes:
        row: the pair.
        rank: mean rank of the right answer, 1 is first.
        right: cosine with the right answer.
        before: ids of the nearest wrong documents, nearest first.
        cosines: their cosines with the query.
    """

    row: int
    rank: float
    right: float
    before: tuple[int, ...]
    cosines: tuple[float, ...]


def has_neighbours(items: Mapping[str, np.ndarray]) -> bool:
    """Whether a result says which documents each query found, both ways."""
    return "pairs/cosine" in items and all(
        f"{way}/{one}" in items for way in SIDES for one in NEEDED
    )


def misses(items: Mapping[str, np.ndarray], way: str, shown: int = 3) -> list[Miss]:
    """Queries of a way whose right answer is not first, the worst rank first.

    Only documents at least as near as the right answer are named, and never one that answers the
    query in another pair.

    Args:
        items: arrays of a result (see :class:`cft.evaluation.result.SuiteResult`).
        way: ``sa_en`` or ``en_sa``.
        shown: how many documents are named at most; no more than are kept.
    """
    asked, answer = SIDES[way]
    query_P, document_P = items[f"pairs/{asked}_id"], items[f"pairs/{answer}_id"]
    # English queries find Sanskrit under other prompts, where an encoder has any.
    back = (
        "pairs/cosine_back" if way == "en_sa" and "pairs/cosine_back" in items else "pairs/cosine"
    )
    place = {int(one): row for row, one in enumerate(items[f"{way}/query_id"])}
    answers = set(zip(query_P.tolist(), document_P.tolist(), strict=True))
    found = []
    for row in np.flatnonzero(items[f"{way}/rank"] > 1).tolist():
        query, right = int(query_P[row]), float(items[back][row])
        documents_K = items[f"{way}/document_id"][items[f"{way}/neighbours"][place[query]]]
        cosines_K = items[f"{way}/neighbour_cosine"][place[query]]
        before = [
            (int(document), float(cosine))
            for document, cosine in zip(documents_K, cosines_K, strict=True)
            if (query, int(document)) not in answers and cosine >= right - TIE
        ][:shown]
        found.append(
            Miss(
                row,
                float(items[f"{way}/rank"][row]),
                right,
                tuple(document for document, _ in before),
                tuple(cosine for _, cosine in before),
            )
        )
    return sorted(found, key=lambda one: (-one.rank, one.row))
