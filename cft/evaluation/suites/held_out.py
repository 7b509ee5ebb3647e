"""Score an encoder on an evaluation set: retrieval, similarity, triplets, geometry and hubs."""

import logging
import time

import numpy as np

from cft.corpora.evalset import EvalSet
from cft.errors import CftError
from cft.evaluation.encoding import EncodedTexts, SupportsEncode, encode_distinct, prompts_of
from cft.evaluation.figures import Evaluation, Figure
from cft.evaluation.result import SuiteResult, cross_lingual_similarities
from cft.evaluation.sections import sections
from cft.evaluation.significance import bootstrap
from cft.evaluation.suites.arrays import (
    drift_items,
    pair_items,
    sts_items,
    text_items,
    triplet_items,
)
from cft.recipe import EvalRecipe

log = logging.getLogger(__name__)


def evaluate(
    encoder: SupportsEncode,
    evalset: EvalSet,
    recipe: EvalRecipe,
    *,
    model: str,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    suite: str = "held-out",
    base: SuiteResult | None = None,
    contaminated: bool = False,
) -> SuiteResult:
    """Encode the evaluation set and compute every figure with its 95% interval.

    Each distinct text is encoded once (once for each of the two prompts where they differ).
    Queries of retrieval, both sides of STS and anchors take the query prompt; documents, positives,
    negatives and the texts of the anisotropy figures take the document prompt. ``None`` takes
    the prompt of the encoder's text contract. A section of the set that is empty gives no figures.

    Args:
        encoder: what is evaluated; its ``revision``, where it has one, is noted.
        evalset: the held-out texts.
        recipe: settings of the intervals.
        model: its name in tables.
        query_prompt: see above.
        document_prompt: see above.
        suite: name of the suite.
        base: result of the base model on the same set, for the drift from it.
        contaminated: whether the encoder was trained on texts of the set.

    Raises:
        CftError: the set is empty, the encoder's output is not usable, or ``base`` is of another
            set.
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
        text_items(texts, documents, recipe.seed)
        | pair_items(evalset.pairs, queries, documents, recipe.seed)
        | sts_items(evalset.sts, queries)
        | triplet_items(evalset.triplets, queries, documents)
    )
    if base is not None:
        items |= drift_items(base, items, recipe.seed, model)
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
        revision=str(getattr(encoder, "revision", "")),
        suite=suite,
        evalset=evalset.name,
        contaminated=contaminated,
        figures=figures,
        counts=counts,
        seconds=round(seconds, 3),
    )
    return SuiteResult(evaluation, items, similarities)


def figures_of(
    items: dict[str, np.ndarray], recipe: EvalRecipe, *, model: str
) -> dict[str, Figure]:
    """Every figure that the per-item arrays define, with its interval."""
    figures: dict[str, Figure] = {}
    for section in sections(items):
        found = bootstrap(
            section.statistic,
            section.items,
            recipe.bootstrap_samples,
            recipe.seed,
            recipe.intervals,
        )
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
