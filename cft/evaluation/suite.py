"""Score an encoder on an evaluation set, and compare two encoders on the same items."""

import logging
import time
from collections.abc import Sequence

import numpy as np

from cft.corpora.evalset import EvalPair, EvalSet, EvalSts, EvalTriplet
from cft.errors import CftError
from cft.evaluation.encoding import EncodedTexts, SupportsEncode, encode_distinct, prompts_of
from cft.evaluation.figures import Evaluation, Figure
from cft.evaluation.metrics import paired_ranks, row_cosines
from cft.evaluation.result import EvaluationResult, cross_lingual_similarities
from cft.evaluation.sections import sections
from cft.evaluation.significance import Difference, bootstrap, paired_bootstrap
from cft.recipe import EvalRecipe
from cft.text import text_ids

log = logging.getLogger(__name__)


def evaluate(
    encoder: SupportsEncode,
    evalset: EvalSet,
    recipe: EvalRecipe,
    *,
    model: str,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> EvaluationResult:
    """Encode the evaluation set and compute every figure with its 95% interval.

    Each distinct text is encoded once (once for each of the two prompts where they differ).
    Queries of retrieval, both sides of STS and anchors take the query prompt; documents, positives,
    negatives and the texts of the anisotropy figures take the document prompt. ``None`` takes
    the prompt of the encoder's text contract. A section of the set that is empty gives no figures.

    Raises:
        CftError: the set is empty, or the encoder's output is not usable.
    """
    started = time.perf_counter()
    texts = [text for _, text in evalset.labelled_texts()]
    if not texts:
        raise CftError(
            f"evaluation set {evalset.name}: no pairs, no STS pairs and no triplets; "
            "hold out more of the corpus"
        )

    def encoded(prompt: str | None) -> EncodedTexts:
        return encode_distinct(
            encoder, texts, model=model, prompt=prompt, batch_tokens=recipe.batch_tokens
        )

    own_query_prompt, own_document_prompt = prompts_of(encoder)
    query_prompt = own_query_prompt if query_prompt is None else query_prompt
    document_prompt = own_document_prompt if document_prompt is None else document_prompt
    documents = encoded(document_prompt)
    queries = documents if query_prompt == document_prompt else encoded(query_prompt)
    items = (
        {"texts/id": documents.ids_N, "texts/vector": documents.vector_ND}
        | _pair_items(evalset.pairs, queries, documents)
        | _sts_items(evalset.sts, queries)
        | _triplet_items(evalset.triplets, queries, documents)
    )
    similarities = None
    if evalset.pairs:
        similarities = cross_lingual_similarities(
            queries.rows([pair.sanskrit for pair in evalset.pairs]),
            documents.rows([pair.english for pair in evalset.pairs]),
            items["pairs/sanskrit_id"],
            items["pairs/english_id"],
            recipe.seed,
        )
    counts = {
        "pairs": len(evalset.pairs),
        "sts": len(evalset.sts),
        "triplets": len(evalset.triplets),
        "texts": len(documents.ids_N),
    }
    figures = figures_of(items, recipe, model=model)
    seconds = time.perf_counter() - started
    log.info(
        "%s: %d figures from %d texts in %.1f s (%.0f texts/s)",
        model,
        len(figures),
        counts["texts"],
        seconds,
        counts["texts"] / seconds,
    )
    evaluation = Evaluation(
        model=model,
        evalset=evalset.name,
        figures=figures,
        counts=counts,
        seconds=round(seconds, 3),
    )
    return EvaluationResult(evaluation, items, similarities)


def _pair_items(
    pairs: Sequence[EvalPair], queries: EncodedTexts, documents: EncodedTexts
) -> dict[str, np.ndarray]:
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
        "sa_en/rank": paired_ranks(query_PD, document_PD, sanskrit_id_P, english_id_P),
        "en_sa/rank": paired_ranks(
            queries.rows(english), documents.rows(sanskrit), english_id_P, sanskrit_id_P
        ),
    }


def _sts_items(sts: Sequence[EvalSts], queries: EncodedTexts) -> dict[str, np.ndarray]:
    if not sts:
        return {}
    a, b = [pair.a for pair in sts], [pair.b for pair in sts]
    return {
        "sts/a_id": text_ids(a),
        "sts/b_id": text_ids(b),
        "sts/score": np.array([pair.score for pair in sts], dtype=np.float64),
        "sts/cosine": row_cosines(queries.rows(a), queries.rows(b)),
    }


def _triplet_items(
    triplets: Sequence[EvalTriplet], queries: EncodedTexts, documents: EncodedTexts
) -> dict[str, np.ndarray]:
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


def figures_of(
    items: dict[str, np.ndarray], recipe: EvalRecipe, *, model: str
) -> dict[str, Figure]:
    """Every figure that the per-item arrays define, with its interval."""
    figures: dict[str, Figure] = {}
    for section in sections(items):
        found = bootstrap(section.statistic, section.items, recipe.bootstrap_samples, recipe.seed)
        for name, figure in zip(section.names, found, strict=True):
            if figure is None:
                log.warning(
                    "%s: %s is undefined on %d items (one side is constant); left out",
                    model,
                    name,
                    section.items,
                )
            else:
                figures[name] = figure
    return figures


def compare(
    first: EvaluationResult, second: EvaluationResult, recipe: EvalRecipe
) -> dict[str, Difference]:
    """Paired bootstrap of second minus first, metric by metric, on the same items.

    Raises:
        CftError: the two evaluations are not of the same items.
    """
    names = f"{first.evaluation.model} and {second.evaluation.model}"
    before, after = sections(first.items), sections(second.items)
    if [one.names for one in before] != [one.names for one in after]:
        raise CftError(f"{names}: evaluated on different sections; evaluate both on one set")
    differences: dict[str, Difference] = {}
    for left, right in zip(before, after, strict=True):
        for key in left.keys:
            if not np.array_equal(first.items[key], second.items[key]):
                raise CftError(f"{names}: {key} differs; evaluate both on one set")
        found = paired_bootstrap(
            left.statistic, right.statistic, left.items, recipe.bootstrap_samples, recipe.seed
        )
        differences |= {
            name: one for name, one in zip(left.names, found, strict=True) if one is not None
        }
    return differences
