"""Sections of a suite: which per-item arrays give which figures.

The same sections serve the intervals of one model and the paired comparison of two, because both
start from the saved per-item arrays.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from cft.evaluation.figures import CUTOFFS
from cft.evaluation.geometry import GEOMETRY, GeometryStatistic, alignment
from cft.evaluation.metrics import (
    hits,
    reciprocal_ranks,
    spearman,
    triplet_margins,
    triplet_wins,
)
from cft.evaluation.metrics_neighbours import NEIGHBOURS, skewness
from cft.evaluation.metrics_separation import SEPARATION, SeparationStatistic
from cft.evaluation.resampled import Correlations, Means, Statistic

# Below a millionth, differences of float32 cosines are rounding; equal numbers share their rank.
COSINE_DECIMALS = 6
POOLS = ("sa_en", "en_sa", "texts")  # in which documents can be hubs
CASES = ("cases_sa", "cases_en")  # retrieval cases against verses and against translations

Items = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Section:
    """Figures that are resampled together: K names, N items, ``int64 [S, N] -> [S, K]``.

    ``keys`` are the item arrays that two evaluations must share to be compared pair by pair. A
    section that is ``relative`` compares with a base already, and is not compared again.
    """

    names: tuple[str, ...]
    items: int
    statistic: Statistic
    keys: tuple[str, ...]
    relative: bool = False


def sections(items: Items) -> list[Section]:
    """The sections that ``items`` (see ``SuiteResult``) has data for."""
    found: list[Section] = []
    if "sa_en/rank" in items:
        found.append(_retrieval(items))
        found += _length_and_rank(items)
    found += _cases(items)
    if "sts/cosine" in items:
        found += _similarity(items)
    if "separation/cosine" in items:
        found.append(_separation(items))
    if "triplet/positive" in items:
        found.append(_triplets(items))
    if len(items.get("texts/vector", ())) > 1:
        vector_ND = items["texts/vector"]
        found.append(Section(GEOMETRY, len(vector_ND), GeometryStatistic(vector_ND), ("texts/id",)))
    found += _hubs(items)
    found += _drift(items)
    return found


def _retrieval(items: Items) -> Section:
    names: list[str] = []
    columns: list[np.ndarray] = []
    for metric in ("mrr", *(f"recall_at_{k}" for k in CUTOFFS)):
        sa_en_P = rank_scores(metric, items["sa_en/rank"])
        en_sa_P = rank_scores(metric, items["en_sa/rank"])
        names += [f"sa_en/{metric}", f"en_sa/{metric}", f"mean/{metric}"]
        columns += [sa_en_P, en_sa_P, (sa_en_P + en_sa_P) / 2]
    names.append("alignment")
    columns.append(alignment(items["pairs/cosine"]))
    keys = ("pairs/sanskrit_id", "pairs/english_id")
    return Section(tuple(names), len(columns[0]), Means(np.stack(columns, axis=1)), keys)


def rank_scores(metric: str, rank_P: np.ndarray) -> np.ndarray:
    """Per-item scores of ``mrr``, ``recall_at_<k>`` or ``hit_at_<k>``."""
    if metric == "mrr":
        return reciprocal_ranks(rank_P)
    return hits(rank_P, int(metric.rpartition("_")[2]))


def _length_and_rank(items: Items) -> Iterator[Section]:
    for way, side in (("sa_en", "sanskrit"), ("en_sa", "english")):
        if f"pairs/{side}_length" in items:
            rank_P, length_P = items[f"{way}/rank"], items[f"pairs/{side}_length"]
            statistic = Correlations(rank_P, length_P, ["spearman"])
            keys = ("pairs/sanskrit_id", "pairs/english_id")
            yield Section((f"length/{way}_rank",), len(rank_P), statistic, keys)


def _cases(items: Items) -> Iterator[Section]:
    for pool in CASES:
        if f"{pool}/rank" in items:
            rank_Q = items[f"{pool}/rank"]
            metrics = ["mrr", *(f"hit_at_{k}" for k in CUTOFFS)]
            score_QK = np.stack([rank_scores(metric, rank_Q) for metric in metrics], axis=1)
            names = tuple(f"{pool}/{metric}" for metric in metrics)
            yield Section(names, len(rank_Q), Means(score_QK), ("cases/query_id", "cases/relevant"))


def _similarity(items: Items) -> Iterator[Section]:
    cosine_S, score_S = np.round(items["sts/cosine"], COSINE_DECIMALS), items["sts/score"]
    keys = ("sts/a_id", "sts/b_id")
    names = ("sts/spearman", "sts/pearson")
    yield Section(names, len(cosine_S), Correlations(cosine_S, score_S), keys)
    languages_S = items.get("sts/languages")
    languages = [] if languages_S is None else np.unique(languages_S).tolist()
    if languages_S is None or len(languages) < 2:
        return  # one pair of languages is the whole
    for pair in languages:
        inside_S = languages_S == pair
        names = (f"sts/{pair}_spearman", f"sts/{pair}_pearson")
        statistic = Correlations(cosine_S[inside_S], score_S[inside_S])
        if np.ptp(score_S[inside_S]) > 0:  # verses with their own translations are all equal
            yield Section(names, int(inside_S.sum()), statistic, keys)


def _separation(items: Items) -> Section:
    cosine_N = np.round(items["separation/cosine"], COSINE_DECIMALS)
    statistic = SeparationStatistic(cosine_N, items["separation/similar"])
    names = tuple(f"separation/{name}" for name in SEPARATION)
    keys = ("separation/a_id", "separation/b_id", "separation/similar")
    return Section(names, len(cosine_N), statistic, keys)


def _triplets(items: Items) -> Section:
    positive_T, negative_T = items["triplet/positive"], items["triplet/negative"]
    scores = {
        "accuracy": triplet_wins(positive_T, negative_T),
        "margin": triplet_margins(positive_T, negative_T),
    }
    names = [f"triplet/{metric}" for metric in scores]
    columns = list(scores.values())
    for category in np.unique(items["triplet/category"]).tolist():
        inside_T = items["triplet/category"] == category
        for metric, score_T in scores.items():
            names.append(f"triplet/{category}_{metric}")
            columns.append(np.where(inside_T, score_T, np.nan))
    keys = ("triplet/anchor_id", "triplet/positive_id", "triplet/negative_id")
    return Section(tuple(names), len(positive_T), Means(np.stack(columns, axis=1)), keys)


def _hubs(items: Items) -> Iterator[Section]:
    """Skew of k-occurrences, and whether short documents are the hubs; documents are resampled."""
    for pool in POOLS:
        occurrences_M = items.get(f"{pool}/occurrences", np.empty(0))
        # With few documents every one is a neighbour of most queries, and nothing can stand out.
        if len(occurrences_M) <= 2 * NEIGHBOURS:
            continue
        length_M = items[f"{pool}/document_length"]

        def statistic(
            item_SM: np.ndarray,
            count_M: np.ndarray = occurrences_M,
            length_M: np.ndarray = length_M,
        ) -> np.ndarray:
            count_SM = count_M[item_SM]
            return np.stack([skewness(count_SM), spearman(count_SM, length_M[item_SM])], axis=1)

        names = (f"hubness/{pool}", f"length/{pool}_hubs")
        yield Section(names, len(occurrences_M), statistic, (f"{pool}/document_id",))


def _drift(items: Items) -> Iterator[Section]:
    names = [name for name in ("drift/cosine", "drift/neighbours") if name in items]
    if names:
        score_NK = np.stack([items[name] for name in names], axis=1)
        yield Section(tuple(names), len(score_NK), Means(score_NK), ("texts/id",), relative=True)
