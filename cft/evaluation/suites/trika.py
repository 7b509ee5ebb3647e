"""The Trika suite: held-out verses that no training touches, verse by verse.

To the figures of :mod:`cft.evaluation.suites.held_out` it adds what a person reads in
``SuiteResult.details``:

- ``verses``: of each retrieval pair its ``id``, ``text`` (such as ``spanda_karika``), ``sanskrit``
  and ``english``, in the order of the ``pairs/`` arrays
- ``retrieval``: for both ways and each verse its ``rank``, the ``cosine`` of its right answer, and
  its ``neighbours`` (``id``, ``cosine``), the nearest first
- ``failures``: for both ways the ids of verses that another text outranks, the worst first
- ``nearest``: for each text by id, the nearest others of its own language
- ``repeats``: verses that are not in the pool, and what they repeat
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cft.corpora.trika import TrikaCorpus
from cft.corpora.trika.corpus import ENGLISH
from cft.evaluation.encoding import SupportsEncode
from cft.evaluation.metrics_neighbours import nearest
from cft.evaluation.result import SuiteResult
from cft.evaluation.suites.held_out import evaluate
from cft.recipe import EvalRecipe
from cft.text import text_id

SUITE = "trika"
SHOWN = 5  # neighbours of a text that are named
WAYS = {"sa_en": ("", ENGLISH), "en_sa": (ENGLISH, "")}  # endings of the ids of both sides


def run(
    encoder: SupportsEncode,
    corpus: TrikaCorpus,
    recipe: EvalRecipe,
    *,
    model: str,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    base: SuiteResult | None = None,
    contaminated: bool = False,
) -> SuiteResult:
    """Score an encoder on the verses, graded pairs and triplets of a Trika corpus.

    Arguments and errors are those of :func:`cft.evaluation.suites.held_out.evaluate`.
    ``items`` gets ``pairs/verse`` and ``pairs/text``, str [P], and ``texts/source``, str [N]: the
    text that each belongs to.
    """
    evalset = corpus.to_evalset()
    result = evaluate(
        encoder,
        evalset,
        recipe,
        model=model,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        suite=SUITE,
        base=base,
        contaminated=contaminated,
    )
    places: list[dict[str, str]] = evalset.sources["verses"]
    source_of: dict[int, str] = {}
    id_of: dict[int, str] = {}
    for verse_id, text in corpus.texts.items():
        source_of.setdefault(text_id(text), corpus.text_of(verse_id))
        id_of.setdefault(text_id(text), verse_id)
    items = result.items
    items |= {
        "pairs/verse": np.array([one["id"] for one in places], dtype=np.str_),
        "pairs/text": np.array([one["text"] for one in places], dtype=np.str_),
        "texts/source": np.array(
            [source_of[one] for one in items["texts/id"].tolist()], dtype=np.str_
        ),
    }
    ids = [one["id"] for one in places]
    retrieval = {way: _retrieval(way, ids, items) for way in WAYS} if ids else {}
    result.details.update(
        {
            "verses": [
                {**place, "sanskrit": pair.sanskrit, "english": pair.english}
                for place, pair in zip(places, evalset.pairs, strict=True)
            ],
            "retrieval": retrieval,
            "failures": {way: _failures(rows) for way, rows in retrieval.items()},
            "nearest": _nearest(items, [id_of[one] for one in items["texts/id"].tolist()], recipe),
            "repeats": evalset.sources["repeats"],
        }
    )
    return result


def _retrieval(way: str, ids: Sequence[str], items: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Texts of the pool are distinct on both sides, so query q and document q are pair q."""
    asked, answer = WAYS[way]
    return [
        {
            "id": ids[row] + asked,
            "rank": float(items[f"{way}/rank"][row]),
            "cosine": _rounded(_right_cosine(way, items, row)),
            "neighbours": [
                {"id": ids[document] + answer, "cosine": _rounded(cosine)}
                for document, cosine in zip(
                    items[f"{way}/neighbours"][row, :SHOWN].tolist(),
                    items[f"{way}/neighbour_cosine"][row, :SHOWN].tolist(),
                    strict=True,
                )
            ],
        }
        for row in range(len(ids))
    ]


def _right_cosine(way: str, items: dict[str, np.ndarray], row: int) -> float:
    return float(items["pairs/cosine" if way == "sa_en" else "pairs/cosine_back"][row])


def _failures(rows: Sequence[dict[str, Any]]) -> list[str]:
    failed = [one for one in rows if one["rank"] > 1]
    return [one["id"] for one in sorted(failed, key=lambda one: -one["rank"])]


def _nearest(
    items: dict[str, np.ndarray], ids: Sequence[str], recipe: EvalRecipe
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for language in ("sa", "en"):
        row_L = np.flatnonzero(items["texts/language"] == language)
        if len(row_L) < 2:
            continue
        vector_LD = items["texts/vector"][row_L]
        count = min(SHOWN, len(row_L) - 1)
        neighbour_LK = nearest(vector_LD, vector_LD, count, without_self=True, seed=recipe.seed)
        cosine_LK = np.einsum("ld,lkd->lk", vector_LD, vector_LD[neighbour_LK])
        for place, row in enumerate(row_L.tolist()):
            found[ids[row]] = [
                {"id": ids[int(row_L[other])], "cosine": _rounded(float(cosine))}
                for other, cosine in zip(
                    neighbour_LK[place].tolist(), cosine_LK[place].tolist(), strict=True
                )
            ]
    return found


def _rounded(cosine: float) -> float:
    return round(float(cosine), 6)
