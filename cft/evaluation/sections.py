"""Sections of a suite: which per-item arrays give which figures.

The same sections serve the intervals of one model and the paired comparison of two, because both
start from the saved per-item arrays.
"""

import dataclasses

import numpy as np

from cft.evaluation.figures import CUTOFFS
from cft.evaluation.geometry import GEOMETRY, GeometryStatistic, alignment
from cft.evaluation.metrics import hits, reciprocal_ranks, triplet_margins, triplet_wins
from cft.evaluation.significance import Statistic, correlations, means

# Below a millionth, differences of float32 cosines are rounding; equal numbers share their rank.
COSINE_DECIMALS = 6


@dataclasses.dataclass(frozen=True)
class Section:
    """Figures that are resampled together: K names, N items, ``int64 [S, N] -> [S, K]``.

    ``keys`` are the item arrays that two evaluations must share to be compared pair by pair.
    """

    names: tuple[str, ...]
    items: int
    statistic: Statistic
    keys: tuple[str, ...]


def sections(items: dict[str, np.ndarray]) -> list[Section]:
    """The sections that ``items`` (see ``EvaluationResult``) has data for."""
    found: list[Section] = []
    if "sa_en/rank" in items:
        found.append(_retrieval(items))
    if "sts/cosine" in items:
        cosine_S = np.round(items["sts/cosine"], COSINE_DECIMALS)
        statistic = correlations(cosine_S, items["sts/score"])
        names = ("sts/spearman", "sts/pearson")
        found.append(Section(names, len(cosine_S), statistic, ("sts/a_id", "sts/b_id")))
    if "triplet/positive" in items:
        found.append(_triplets(items))
    if len(items.get("texts/vector", ())) > 1:
        vector_ND = items["texts/vector"]
        statistic = GeometryStatistic(vector_ND)
        found.append(Section(GEOMETRY, len(vector_ND), statistic, ("texts/id",)))
    return found


def _retrieval(items: dict[str, np.ndarray]) -> Section:
    names: list[str] = []
    columns: list[np.ndarray] = []
    for metric in ("mrr", *(f"recall_at_{k}" for k in CUTOFFS)):
        sa_en_P, en_sa_P = (_scores(metric, items[f"{way}/rank"]) for way in ("sa_en", "en_sa"))
        names += [f"{way}/{metric}" for way in ("sa_en", "en_sa", "mean")]
        columns += [sa_en_P, en_sa_P, (sa_en_P + en_sa_P) / 2]
    names.append("alignment")
    columns.append(alignment(items["pairs/cosine"]))
    keys = ("pairs/sanskrit_id", "pairs/english_id")
    return Section(tuple(names), len(columns[0]), means(np.stack(columns, axis=1)), keys)


def _scores(metric: str, rank_P: np.ndarray) -> np.ndarray:
    if metric == "mrr":
        return reciprocal_ranks(rank_P)
    return hits(rank_P, int(metric.removeprefix("recall_at_")))


def _triplets(items: dict[str, np.ndarray]) -> Section:
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
    return Section(tuple(names), len(positive_T), means(np.stack(columns, axis=1)), keys)
