"""Per-item arrays of a suite: what figures, comparisons and reports are computed from.

Names and shapes are those of :class:`cft.evaluation.result.SuiteResult`.
"""

from collections.abc import Sequence

import numpy as np

from cft.corpora.evalset import EvalPair, EvalSts, EvalTriplet
from cft.errors import CftError
from cft.evaluation.encoding import EncodedTexts
from cft.evaluation.metrics import paired_ranks, row_cosines
from cft.evaluation.metrics_neighbours import (
    NEIGHBOURS,
    drift,
    k_occurrences,
    nearest,
    neighbours_lost,
)
from cft.evaluation.result import SuiteResult
from cft.text import has_devanagari, normalise, text_ids


def text_items(texts: Sequence[str], documents: EncodedTexts, seed: int) -> dict[str, np.ndarray]:
    """The ``texts/`` arrays of a result: vectors, languages, lengths and neighbours."""
    text_of = dict(zip(text_ids(texts).tolist(), texts, strict=True))
    distinct = [text_of[one] for one in documents.ids_N.tolist()]
    items = {
        "texts/id": documents.ids_N,
        "texts/vector": documents.vector_ND,
        "texts/language": np.array([language(text) for text in distinct], dtype=np.str_),
    }
    others = len(distinct) - 1
    if others < 1:
        return items
    neighbour_NK = nearest(
        documents.vector_ND,
        documents.vector_ND,
        min(NEIGHBOURS, others),
        without_self=True,
        seed=seed,
    )
    return items | {
        "texts/neighbours": neighbour_NK,
        "texts/occurrences": k_occurrences(neighbour_NK, len(distinct)),
        "texts/document_id": documents.ids_N,
        "texts/document_length": _lengths(distinct),
    }


def language(text: str) -> str:
    """``sa`` for a text with Devanagari letters, else ``en``."""
    return "sa" if has_devanagari(text) else "en"


def _lengths(texts: Sequence[str]) -> np.ndarray:
    """Characters of each text's normal form: words say little where sandhi joins them."""
    return np.array([len(normalise(text)) for text in texts], dtype=np.int64)


def drift_items(
    base: SuiteResult, items: dict[str, np.ndarray], seed: int, model: str
) -> dict[str, np.ndarray]:
    """How far each text moved from where the base had it, and the neighbours it lost.

    Raises:
        CftError: the base was evaluated on other texts.
    """
    for key in ("texts/id", "texts/vector"):
        if key not in base.items:
            raise CftError(f"{base.model}: has no {key}; evaluate the base on the same set")
    if not np.array_equal(base.items["texts/id"], items["texts/id"]):
        raise CftError(
            f"{model} and {base.model}: evaluated on different texts; evaluate the base on the "
            "same set"
        )
    base_ND, tuned_ND = base.items["texts/vector"], items["texts/vector"]
    found: dict[str, np.ndarray] = {}
    if base_ND.shape == tuned_ND.shape:  # else the two have no axes in common
        found["drift/cosine"] = drift(base_ND, tuned_ND)
    if "texts/neighbours" in items:
        width = items["texts/neighbours"].shape[1]
        base_NK = nearest(base_ND, base_ND, width, without_self=True, seed=seed)
        found["drift/neighbours"] = neighbours_lost(base_NK, items["texts/neighbours"])
    return found


def pair_items(
    pairs: Sequence[EvalPair], queries: EncodedTexts, documents: EncodedTexts, seed: int
) -> dict[str, np.ndarray]:
    """Cosines, ranks both ways, lengths and neighbours of verses and their translations."""
    if not pairs:
        return {}
    sanskrit = [pair.sanskrit for pair in pairs]
    english = [pair.english for pair in pairs]
    sanskrit_id_P, english_id_P = text_ids(sanskrit), text_ids(english)
    query_PD, document_PD = queries.rows(sanskrit), documents.rows(english)
    return {
        "pairs/sanskrit_id": sanskrit_id_P,
        "pairs/english_id": english_id_P,
        "pairs/cosine": row_cosines(query_PD, document_PD),
        "pairs/cosine_back": row_cosines(queries.rows(english), documents.rows(sanskrit)),
        "sa_en/rank": paired_ranks(query_PD, document_PD, sanskrit_id_P, english_id_P),
        "en_sa/rank": paired_ranks(
            queries.rows(english), documents.rows(sanskrit), english_id_P, sanskrit_id_P
        ),
        "pairs/sanskrit_length": _lengths(sanskrit),
        "pairs/english_length": _lengths(english),
        **_neighbour_items("sa_en", sanskrit, english, queries, documents, seed),
        **_neighbour_items("en_sa", english, sanskrit, queries, documents, seed),
    }


def _neighbour_items(
    way: str,
    asked: Sequence[str],
    answers: Sequence[str],
    queries: EncodedTexts,
    documents: EncodedTexts,
    seed: int,
) -> dict[str, np.ndarray]:
    asked_id_P, answer_id_P = text_ids(asked), text_ids(answers)
    _, query_first = np.unique(asked_id_P, return_index=True)
    _, document_first = np.unique(answer_id_P, return_index=True)
    query_first, document_first = np.sort(query_first), np.sort(document_first)
    pool = [answers[row] for row in document_first]
    query_QD = queries.rows([asked[row] for row in query_first])
    document_MD = documents.rows(pool)
    neighbour_QK = nearest(query_QD, document_MD, min(NEIGHBOURS, len(pool)), seed=seed)
    return {
        f"{way}/query_id": asked_id_P[query_first],
        f"{way}/neighbours": neighbour_QK,
        f"{way}/neighbour_cosine": np.einsum("qd,qkd->qk", query_QD, document_MD[neighbour_QK]),
        f"{way}/document_id": answer_id_P[document_first],
        f"{way}/occurrences": k_occurrences(neighbour_QK, len(pool)),
        f"{way}/document_length": _lengths(pool),
    }


def sts_items(sts: Sequence[EvalSts], queries: EncodedTexts) -> dict[str, np.ndarray]:
    """Scores and cosines of graded pairs, with the languages of each."""
    if not sts:
        return {}
    a, b = [pair.a for pair in sts], [pair.b for pair in sts]
    return {
        "sts/a_id": text_ids(a),
        "sts/b_id": text_ids(b),
        "sts/score": np.array([pair.score for pair in sts], dtype=np.float64),
        "sts/cosine": row_cosines(queries.rows(a), queries.rows(b)),
        "sts/languages": np.array(
            [
                "-".join(sorted(map(language, pair), reverse=True))
                for pair in zip(a, b, strict=True)
            ],
            dtype=np.str_,
        ),
    }


def triplet_items(
    triplets: Sequence[EvalTriplet], queries: EncodedTexts, documents: EncodedTexts
) -> dict[str, np.ndarray]:
    """Cosines of anchors with positives and with negatives, with the category of each."""
    if not triplets:
        return {}
    anchor = [one.anchor for one in triplets]
    positive = [one.positive for one in triplets]
    negative = [one.negative for one in triplets]
    anchor_TD = queries.rows(anchor)
    return {
        "triplet/anchor_id": text_ids(anchor),
        "triplet/positive_id": text_ids(positive),
        "triplet/negative_id": text_ids(negative),
        "triplet/positive": row_cosines(anchor_TD, documents.rows(positive)),
        "triplet/negative": row_cosines(anchor_TD, documents.rows(negative)),
        "triplet/category": np.array([one.category for one in triplets], dtype=np.str_),
    }
