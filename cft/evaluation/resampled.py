"""Statistics of resampled items: what a bootstrap and a permutation test call thousands of times.

A statistic is a function of resampled item indices, ``int64 [S, N] -> float64 [S, K]``: S
resamples of N items give K figures each. Resampling the items and never the derived numbers keeps
figures that share items consistent, and lets two encoders be compared on the same draws. The
items are queries for retrieval (the pool of documents stays whole), pairs for correlations,
triplets, and texts for figures of pairwise cosines.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy import stats

from cft.evaluation.metrics import pearson, spearman

Statistic = Callable[[np.ndarray], np.ndarray]


@runtime_checkable
class Exchangeable(Protocol):
    """A statistic of which two encoders can trade the scores of single items."""

    def exchanged(self, other: Any, swap_SN: np.ndarray) -> np.ndarray:
        """Other minus self after trading the items marked in ``bool [S, N]``, ``[S, K]``."""
        ...


class Means:
    """Column means of per-item scores ``[N, K]``; NaN marks an item that a column leaves out."""

    def __init__(self, score_NK: np.ndarray) -> None:
        score_NK = np.asarray(score_NK, dtype=np.float64)
        score_NK = score_NK[:, None] if score_NK.ndim == 1 else score_NK
        self.counted_NK = np.isfinite(score_NK).astype(np.float64)
        self.filled_NK = np.where(self.counted_NK > 0, score_NK, 0.0)

    def __call__(self, item_SN: np.ndarray) -> np.ndarray:
        """``int [S, N] -> float64 [S, K]``."""
        samples, items = len(item_SN), len(self.filled_NK)
        flat = item_SN + items * np.arange(samples)[:, None]
        weight_SN = np.bincount(flat.ravel(), minlength=samples * items).reshape(samples, items)
        total_SK = weight_SN @ self.counted_NK
        sum_SK = weight_SN @ self.filled_NK
        return np.where(total_SK > 0, sum_SK / np.maximum(total_SK, 1.0), np.nan)

    def exchanged(self, other: "Means", swap_SN: np.ndarray) -> np.ndarray:
        """Trading two scores turns the sign of their difference, ``[S, K]``."""
        change_NK = other.filled_NK - self.filled_NK
        count_K = self.counted_NK.sum(axis=0)
        return (1.0 - 2.0 * swap_SN) @ change_NK / np.where(count_K > 0, count_K, np.nan)


_CORRELATIONS = {"spearman": spearman, "pearson": pearson}


class Correlations:
    """Correlations of resampled pairs, ``[S, K]``; ranks are taken anew in every resample.

    Args:
        x_N: an encoder's scores.
        y_N: what they should follow.
        kinds: which correlations, in the order of the columns.
    """

    def __init__(
        self, x_N: np.ndarray, y_N: np.ndarray, kinds: Sequence[str] = ("spearman", "pearson")
    ) -> None:
        self.x_N = np.asarray(x_N, dtype=np.float64)
        self.y_N = np.asarray(y_N, dtype=np.float64)
        self.kinds = tuple(kinds)

    def __call__(self, item_SN: np.ndarray) -> np.ndarray:
        """``int [S, N] -> float64 [S, K]``."""
        x_SN, y_SN = self.x_N[item_SN], self.y_N[item_SN]
        return np.stack([_CORRELATIONS[kind](x_SN, y_SN) for kind in self.kinds], axis=1)

    def exchanged(self, other: "Correlations", swap_SN: np.ndarray) -> np.ndarray:
        """Trades ranks for Spearman and standardised scores for Pearson, ``[S, K]``.

        Two encoders spread their cosines differently; traded as they are, the spread and not the
        order would decide. Neither correlation changes by the rescaling itself.
        """
        columns = []
        for kind in self.kinds:
            rescale = stats.rankdata if kind == "spearman" else standardised
            own_SN, other_SN = traded(rescale(self.x_N), rescale(other.x_N), swap_SN)
            correlation = _CORRELATIONS[kind]
            columns.append(correlation(other_SN, other.y_N) - correlation(own_SN, self.y_N))
        return np.stack(columns, axis=1)


def standardised(x_N: np.ndarray) -> np.ndarray:
    """Scores with mean 0 and standard deviation 1; zeros where all are equal."""
    centred_N = x_N - x_N.mean()
    return centred_N / centred_N.std() if np.ptp(x_N) > 0 else np.zeros(len(x_N))


def traded(
    first_N: np.ndarray, second_N: np.ndarray, swap_SN: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both score arrays with the marked items traded, ``[S, N]`` each."""
    return np.where(swap_SN, second_N, first_N), np.where(swap_SN, first_N, second_N)
