"""How well a score separates two kinds of pairs: AUC-ROC and the gap between their means.

Suffixes: N pairs, S resamples, G distinct scores.
"""

from typing import Any

import numpy as np
from scipy import stats

from cft.evaluation.resampled import traded

SEPARATION = ("similar_mean", "dissimilar_mean", "discrimination", "auc_roc")


def auc_roc(score_N: np.ndarray, similar_N: np.ndarray) -> float:
    """Probability that a similar pair scores above a dissimilar one, a tie counting one half.

    The area under the ROC curve, as the Mann-Whitney statistic (Hanley & McNeil, Radiology 1982).
    NaN where one kind is missing.
    """
    return float(SeparationStatistic(score_N, similar_N)(np.arange(len(score_N))[None])[0, 3])


def discrimination(score_N: np.ndarray, similar_N: np.ndarray) -> float:
    """Mean score of similar pairs minus that of dissimilar ones; NaN where one kind is missing."""
    return float(SeparationStatistic(score_N, similar_N)(np.arange(len(score_N))[None])[0, 2])


class SeparationStatistic:
    """The four :data:`SEPARATION` figures of resampled pairs, as a bootstrap statistic.

    Args:
        score_N: a score for each pair, such as a cosine; equal scores are ties.
        similar_N: whether a pair is similar.
    """

    def __init__(self, score_N: np.ndarray, similar_N: np.ndarray) -> None:
        self.score_N = np.asarray(score_N, dtype=np.float64)
        self.similar_N = np.asarray(similar_N).astype(bool)
        self._order_N = np.argsort(self.score_N, kind="stable")
        sorted_N = self.score_N[self._order_N]
        self._first_G = np.flatnonzero(np.append(True, np.diff(sorted_N) > 0))

    def __call__(self, item_SN: np.ndarray) -> np.ndarray:
        """``int [S, N]`` rows of resampled pairs -> ``float64 [S, 4]``."""
        samples, pairs = len(item_SN), len(self.score_N)
        flat = item_SN + pairs * np.arange(samples)[:, None]
        weight_SN = np.bincount(flat.ravel(), minlength=samples * pairs).reshape(samples, pairs)
        similar_SN = weight_SN * self.similar_N
        unlike_SN = weight_SN * ~self.similar_N
        with np.errstate(invalid="ignore", divide="ignore"):
            similar_S = similar_SN @ self.score_N / similar_SN.sum(axis=1)
            unlike_S = unlike_SN @ self.score_N / unlike_SN.sum(axis=1)
            # Over the distinct scores, in rising order: dissimilar pairs below, and half of those
            # at the score of each similar pair.
            similar_SG = np.add.reduceat(similar_SN[:, self._order_N], self._first_G, axis=1)
            unlike_SG = np.add.reduceat(unlike_SN[:, self._order_N], self._first_G, axis=1)
            below_SG = np.cumsum(unlike_SG, axis=1) - unlike_SG / 2
            wins_S = (similar_SG * below_SG).sum(axis=1)
            auc_S = wins_S / (similar_SN.sum(axis=1) * unlike_SN.sum(axis=1))
        return np.stack([similar_S, unlike_S, similar_S - unlike_S, auc_S], axis=1)

    def exchanged(self, other: Any, swap_SN: np.ndarray) -> np.ndarray:
        """Other minus self after trading the marked pairs, ``[S, 4]``.

        Means trade cosines. AUC sees only the order, so it trades ranks: encoders whose cosines lie
        in different ranges would otherwise differ by the trade itself.
        """
        own_SN, other_SN = traded(self.score_N, other.score_N, swap_SN)
        own_rank_SN, other_rank_SN = traded(
            stats.rankdata(self.score_N), stats.rankdata(other.score_N), swap_SN
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            change_SN = other_SN - own_SN
            similar_S = change_SN @ self.similar_N / self.similar_N.sum()
            unlike_S = change_SN @ ~self.similar_N / (~self.similar_N).sum()
            auc_S = self._auc(other_rank_SN) - self._auc(own_rank_SN)
        return np.stack([similar_S, unlike_S, similar_S - unlike_S, auc_S], axis=1)

    def _auc(self, score_SN: np.ndarray) -> np.ndarray:
        """AUC of each row of scores from the rank sum of its similar pairs, ``[S]``."""
        similar, unlike = self.similar_N.sum(), (~self.similar_N).sum()
        sum_S = stats.rankdata(score_SN, axis=1) @ self.similar_N
        return (sum_S - similar * (similar + 1) / 2) / (similar * unlike)
