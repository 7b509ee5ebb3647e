"""Bootstrap intervals and paired comparisons (Efron & Tibshirani, An Introduction to the
Bootstrap, 1993).

A statistic is a function of resampled item indices, ``int64 [S, N] -> float64 [S, K]``: S
resamples of N items give K figures each. Resampling the items and never the derived numbers keeps
figures that share items consistent, and lets two encoders be compared on the same draws. The
items are queries for retrieval (the pool of documents stays whole), pairs for correlations,
triplets, and texts for figures of pairwise cosines.

Intervals are 95% percentile intervals. They take items as independent, and a statistic that no
item varies (recall@1 of a model that never succeeds) has an interval of width zero.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from cft.errors import CftError
from cft.evaluation.figures import Better, Figure
from cft.evaluation.metrics import pearson, spearman

Statistic = Callable[[np.ndarray], np.ndarray]
PERCENTILES = (2.5, 97.5)
BLOCK_ENTRIES = 1 << 22  # indices drawn at once: 32 MB


@dataclasses.dataclass(frozen=True)
class Difference:
    """Second minus first on the same items, with the paired 95% interval."""

    first: float
    second: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """second - first."""
        return self.second - self.first

    def verdict(self, better: Better) -> str:
        """``better``, ``worse`` or ``not distinguishable``; ``changed`` where no way is better."""
        if self.low <= 0 <= self.high:
            return "not distinguishable"
        if better is None:
            return "changed"
        return "better" if (self.low > 0) == (better == "higher") else "worse"


def resamples(items: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks ``int64 [s, N]`` of item indices drawn with replacement, ``samples`` rows in all.

    The same arguments always give the same draws.
    """
    generator = np.random.default_rng(seed)
    step = max(1, BLOCK_ENTRIES // max(1, items))
    for start in range(0, samples, step):
        yield generator.integers(0, items, size=(min(step, samples - start), items))


def means(score_NK: np.ndarray) -> Statistic:
    """Column means of per-item scores; NaN marks an item that a column does not count."""
    score_NK = np.asarray(score_NK, dtype=np.float64)
    score_NK = score_NK[:, None] if score_NK.ndim == 1 else score_NK
    counted_NK = np.isfinite(score_NK).astype(np.float64)
    filled_NK = np.where(counted_NK > 0, score_NK, 0.0)

    def statistic(item_SN: np.ndarray) -> np.ndarray:
        samples, items = len(item_SN), len(score_NK)
        flat = item_SN + items * np.arange(samples)[:, None]
        weight_SN = np.bincount(flat.ravel(), minlength=samples * items).reshape(samples, items)
        total_SK = weight_SN @ counted_NK
        sum_SK = weight_SN @ filled_NK
        return np.where(total_SK > 0, sum_SK / np.maximum(total_SK, 1.0), np.nan)

    return statistic


def correlations(x_N: np.ndarray, y_N: np.ndarray) -> Statistic:
    """Spearman's rho and Pearson's r of resampled pairs, ``[S, 2]``; ranks are taken anew."""
    x_N, y_N = np.asarray(x_N), np.asarray(y_N)

    def statistic(item_SN: np.ndarray) -> np.ndarray:
        x_SN, y_SN = x_N[item_SN], y_N[item_SN]
        return np.stack([spearman(x_SN, y_SN), pearson(x_SN, y_SN)], axis=1)

    return statistic


def point(statistic: Statistic, items: int) -> np.ndarray:
    """The statistic of the items as they are, ``float64 [K]``."""
    return statistic(np.arange(items)[None, :])[0]


def replicates(statistic: Statistic, items: int, samples: int, seed: int) -> np.ndarray:
    """The statistic of every resample, ``float64 [S, K]``."""
    return np.concatenate([statistic(block) for block in resamples(items, samples, seed)])


def bootstrap(statistic: Statistic, items: int, samples: int, seed: int) -> list[Figure | None]:
    """Each of the K figures with its 95% interval; None where the value is undefined.

    Resamples in which the statistic is undefined (a constant side) are left out.
    """
    value_K = point(statistic, items)
    replicate_SK = replicates(statistic, items, samples, seed)
    figures: list[Figure | None] = []
    for value, replicate_S in zip(value_K, replicate_SK.T, strict=True):
        interval = _interval(replicate_S)
        defined = np.isfinite(value) and interval is not None
        figures.append(
            Figure(value=float(value), low=interval[0], high=interval[1])
            if defined and interval
            else None
        )
    return figures


def paired_bootstrap(
    first: Statistic, second: Statistic, items: int, samples: int, seed: int
) -> list[Difference | None]:
    """Second minus first of each of the K figures, both on the same draws of the same items."""
    first_K, second_K = point(first, items), point(second, items)
    if first_K.shape != second_K.shape:
        raise CftError(
            f"paired bootstrap: {len(first_K)} figures against {len(second_K)}; "
            "compare evaluations of one evaluation set"
        )
    change_SK = np.concatenate(
        [second(block) - first(block) for block in resamples(items, samples, seed)]
    )
    differences: list[Difference | None] = []
    for before, after, change_S in zip(first_K, second_K, change_SK.T, strict=True):
        interval = _interval(change_S)
        known = np.isfinite(before) and np.isfinite(after)
        differences.append(
            Difference(float(before), float(after), *interval) if known and interval else None
        )
    return differences


def _interval(replicate_S: np.ndarray) -> tuple[float, float] | None:
    defined = replicate_S[np.isfinite(replicate_S)]
    if not defined.size:
        return None
    low, high = np.percentile(defined, PERCENTILES)
    return float(low), float(high)
