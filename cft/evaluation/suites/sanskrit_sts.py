"""The Sanskrit STS suite: similar and dissimilar pairs of texts, and retrieval cases.

The pairs are a JSON list of ``text_a``, ``text_b`` and ``label`` (1 similar, 0 dissimilar), as
``cft data vbt-eval`` and the original system write it. The retrieval cases are the file that
``cft data vbt-eval`` writes beside it: ``documents`` (``sanskrit``, ``english``) and ``cases`` of a
``query`` and the numbers of its ``relevant`` documents.
"""

import json
import logging
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cft.errors import CftError, problems_of
from cft.evaluation.encoding import EncodedTexts, SupportsEncode, encode_distinct, prompts_of
from cft.evaluation.figures import Evaluation
from cft.evaluation.metrics import retrieval_ranks, row_cosines
from cft.evaluation.result import SuiteResult
from cft.evaluation.suites.arrays import text_items
from cft.evaluation.suites.held_out import figures_of
from cft.files import digest_file
from cft.recipe import EvalRecipe, Settings
from cft.text import normalise, text_ids

log = logging.getLogger(__name__)

SUITE = "sanskrit-sts"


class LabelledPair(BaseModel):
    """Two texts and whether they mean the same; other fields of a row are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text_a: str = Field(min_length=1)
    text_b: str = Field(min_length=1)
    label: Literal[0, 1]


class Document(Settings):
    """A verse of the pool, which a query may mean in either language."""

    sanskrit: str = Field(min_length=1)
    english: str = Field(min_length=1)


class Case(Settings):
    """A query and the numbers of the documents that answer it, from 0."""

    query: str = Field(min_length=1)
    relevant: list[int]


class RetrievalCases(Settings):
    """Queries over a pool of verses."""

    documents: list[Document]
    cases: list[Case]


class SanskritSts(Settings):
    """What the suite asks."""

    name: str
    pairs: list[LabelledPair]
    retrieval: RetrievalCases = RetrievalCases(documents=[], cases=[])

    def texts(self) -> list[str]:
        """Every text, with repetitions."""
        found = [text for one in self.pairs for text in (one.text_a, one.text_b)]
        for document in self.retrieval.documents:
            found += [document.sanskrit, document.english]
        return found + [case.query for case in self.retrieval.cases]


def beside(path: Path) -> Path:
    """Where ``cft data vbt-eval`` puts the retrieval cases of the pairs in ``path``."""
    return path.with_name(f"{path.stem}_retrieval{path.suffix}")


def read_sanskrit_sts(path: Path, retrieval: Path | None = None) -> SanskritSts:
    """Read labelled pairs, and the retrieval cases where there are any.

    Args:
        path: the pairs.
        retrieval: the cases. Empty: the file beside the pairs, where it exists.

    Raises:
        CftError: a file is missing or malformed, one kind of pair is missing, or a case names no
            document.
    """
    pairs = _validated(path, TypeAdapter(list[LabelledPair]))
    for row, pair in enumerate(pairs):
        for field in ("text_a", "text_b"):
            if not normalise(getattr(pair, field)):
                raise CftError(f"{path}: {row}.{field}: empty text; fill it or remove the row")
    similar = sum(pair.label for pair in pairs)
    if not 0 < similar < len(pairs):
        raise CftError(
            f"{path}: {similar} similar and {len(pairs) - similar} dissimilar pairs; "
            "separation needs both kinds"
        )
    cases = RetrievalCases(documents=[], cases=[])
    if retrieval is None and beside(path).is_file():
        retrieval = beside(path)
    if retrieval is not None:
        cases = _validated(retrieval, TypeAdapter(RetrievalCases))
        for row, case in enumerate(cases.cases):
            wrong = [one for one in case.relevant if not 0 <= one < len(cases.documents)]
            if wrong or not case.relevant:
                raise CftError(
                    f"{retrieval}: cases.{row}.relevant: {wrong or 'no number'} among "
                    f"{len(cases.documents)} documents numbered from 0; mend the case"
                )
    return SanskritSts(name=f"{path.name} {digest_file(path)}", pairs=pairs, retrieval=cases)


def _validated(path: Path, kind: TypeAdapter[Any]) -> Any:
    try:
        return kind.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CftError(
            f"{path}: not readable ({error.strerror}); write it by `cft data vbt-eval`"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CftError(f"{path}: not valid JSON in UTF-8 ({error}); mend the file") from None
    except ValidationError as error:
        raise CftError(f"{path}: {problems_of(error)}; mend the entry") from None


def run(
    encoder: SupportsEncode,
    asked: SanskritSts,
    recipe: EvalRecipe,
    *,
    model: str,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    contaminated: bool = False,
) -> SuiteResult:
    """How well cosines tell similar from dissimilar pairs, and find the verses of each case.

    Figures: ``separation/similar_mean``, ``.../dissimilar_mean``, ``.../discrimination`` and
    ``.../auc_roc``; MRR and hit@k of the best right answer of each case among the Sanskrit verses
    (``cases_sa/``) and among their translations (``cases_en/``); geometry and hubs of all texts.
    Both texts of a pair and the queries take the query prompt, documents the document prompt;
    None takes the encoder's own.

    ``details`` has ``pairs`` and ``cases`` with their texts, in the order of the arrays.

    Raises:
        CftError: the encoder's output is not usable.
    """
    started = time.perf_counter()
    own_query, own_document = prompts_of(encoder)
    query_prompt = own_query if query_prompt is None else query_prompt
    document_prompt = own_document if document_prompt is None else document_prompt

    def encoded(texts: list[str], prompt: str | None) -> EncodedTexts:
        return encode_distinct(
            encoder, texts, model=model, prompt=prompt, batch_tokens=recipe.batch_tokens
        )

    texts = asked.texts()
    documents = encoded(texts, document_prompt)
    queries = documents if query_prompt == document_prompt else encoded(texts, query_prompt)
    items = text_items(texts, documents, recipe.seed) | _pair_items(asked.pairs, queries)
    case_items, case_rows = _cases(asked.retrieval, queries, documents)
    items |= case_items
    figures = figures_of(items, recipe, model=model)
    seconds = time.perf_counter() - started
    similar = sum(pair.label for pair in asked.pairs)
    counts = {
        "similar": similar,
        "dissimilar": len(asked.pairs) - similar,
        "cases": len(asked.retrieval.cases),
        "documents": len(asked.retrieval.documents),
        "texts": len(documents.ids_N),
    }
    log.info(
        "%s: %d figures from %d texts in %.1f s (%.0f texts/s)",
        model,
        len(figures),
        counts["texts"],
        seconds,
        counts["texts"] / max(seconds, 1e-9),
    )
    evaluation = Evaluation(
        model=model,
        revision=str(getattr(encoder, "revision", "")),
        suite=SUITE,
        evalset=asked.name,
        contaminated=contaminated,
        figures=figures,
        counts=counts,
        seconds=round(seconds, 3),
    )
    pairs = [
        {**pair.model_dump(), "cosine": round(cosine, 6)}
        for pair, cosine in zip(asked.pairs, items["separation/cosine"].tolist(), strict=True)
    ]
    return SuiteResult(evaluation, items, details={"pairs": pairs, "cases": case_rows})


def _pair_items(pairs: list[LabelledPair], queries: EncodedTexts) -> dict[str, np.ndarray]:
    a, b = [pair.text_a for pair in pairs], [pair.text_b for pair in pairs]
    return {
        "separation/a_id": text_ids(a),
        "separation/b_id": text_ids(b),
        "separation/similar": np.array([pair.label == 1 for pair in pairs], dtype=bool),
        "separation/cosine": row_cosines(queries.rows(a), queries.rows(b)),
    }


def _cases(
    retrieval: RetrievalCases, queries: EncodedTexts, documents: EncodedTexts
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    if not retrieval.cases:
        return {}, []
    asked = [case.query for case in retrieval.cases]
    case_E = np.repeat(np.arange(len(asked)), [len(case.relevant) for case in retrieval.cases])
    relevant_E = np.concatenate([case.relevant for case in retrieval.cases]).astype(np.int64)
    items = {
        "cases/query_id": text_ids(asked),
        "cases/relevant": np.stack([case_E, relevant_E], axis=1),
    }
    rows: list[dict[str, Any]] = [
        {"query": case.query, "relevant": case.relevant} for case in retrieval.cases
    ]
    for side in ("sanskrit", "english"):
        pool = [getattr(document, side) for document in retrieval.documents]
        # A text that several verses share is one document.
        _, first, place_M = np.unique(text_ids(pool), return_index=True, return_inverse=True)
        rank_C = retrieval_ranks(
            queries.rows(asked),
            documents.rows([pool[row] for row in first]),
            case_E,
            place_M[relevant_E],
        )
        items[f"cases_{side[:2]}/rank"] = rank_C
        for row, rank in zip(rows, rank_C.tolist(), strict=True):
            row[f"rank_{side}"] = rank
    return items, rows
