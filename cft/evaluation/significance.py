"""Bootstrap intervals and paired comparisons (Efron & Tibshirani, An Introduction to the
Bootstrap, 1993).

Intervals are 95% percentile intervals, or BCa, which corrects them for bias and skew (Efron,
"Better Bootstrap Confidence Intervals", JASA 1987). Both take items as independent, and a
statistic that no item varies (recall@1 of a model that never succeeds) has an interval of width
zero.

Two encoders are compared by the paired bootstrap and, where the two can trade an item's score,
by a paired permutation test as well; a difference counts when both see it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from scipy import special

from cft.errors import CftError
from cft.evaluation.figures import Better, Figure
from cft.evaluation.resampled import Exchangeable, Statistic

IntervalMethod = Literal["percentile", "bca"]
LEVEL = 0.05
PERCENTILES = (100 * LEVEL / 2, 100 - 100 * LEVEL / 2)
BLOCK_ENTRIES = 1 << 22  # indices drawn at once: 32 MB
JACKKNIFE_GROUPS = 200  # enough for the third moment; one group an item up to so many items


@dataclasses.dataclass(frozen=True)
class Difference:
    """Second minus first on the same items.

    Attributes:
        first: value of the first encoder.
        second: value of the second.
        low: lower bound of the paired 95% interval of the difference.
        high: upper bound.
        p: two-sided p of the paired permutation test; None where scores cannot be traded.
        p_adjusted: p corrected for the number of metrics tested; None where it was not.
    """

    first: float
    second: float
    low: float
    high: float
    p: float | None = None
    p_adjusted: float | None = None

    @property
    def value(self) -> float:
        """second - first."""
        return self.second - self.first

    def verdict(self, better: Better) -> str:
        """``better``, ``worse`` or ``not distinguishable``; ``changed`` where no way is better.

        A difference is distinguishable when its interval leaves out zero and p, corrected where it
        was, is at most 5%.
        """
        p = self.p if self.p_adjusted is None else self.p_adjusted
        if self.low <= 0 <= self.high or (p is not None and p > LEVEL):
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


def point(statistic: Statistic, items: int) -> np.ndarray:
    """The statistic of the items as they are, ``float64 [K]``."""
    return statistic(np.arange(items)[None, :])[0]


def replicates(statistic: Statistic, items: int, samples: int, seed: int) -> np.ndarray:
    """The statistic of every resample, ``float64 [S, K]``."""
    return np.concatenate([statistic(block) for block in resamples(items, samples, seed)])


def bootstrap(
    statistic: Statistic,
    items: int,
    samples: int,
    seed: int,
    method: IntervalMethod = "percentile",
) -> list[Figure | None]:
    """Each of the K figures with its 95% interval; None where the value is undefined.

    Resamples in which the statistic is undefined (a constant side) are left out.
    """
    value_K = point(statistic, items)
    found = _intervals(statistic, value_K, items, samples, seed, method)
    return [
        Figure(value=float(value), low=interval[0], high=interval[1])
        if interval and np.isfinite(value)
        else None
        for value, interval in zip(value_K, found, strict=True)
    ]


def paired_bootstrap(
    first: Statistic,
    second: Statistic,
    items: int,
    samples: int,
    seed: int,
    method: IntervalMethod = "percentile",
) -> list[Difference | None]:
    """Second minus first of each of the K figures, both on the same draws of the same items.

    Where items can be traded (:class:`Exchangeable`), the p of the permutation test comes along.
    """
    first_K, second_K = point(first, items), point(second, items)
    if first_K.shape != second_K.shape:
        raise CftError(
            f"paired bootstrap: {len(first_K)} figures against {len(second_K)}; "
            "compare evaluations of one evaluation set"
        )

    def change(item_SN: np.ndarray) -> np.ndarray:
        return second(item_SN) - first(item_SN)

    found = _intervals(change, second_K - first_K, items, samples, seed, method)
    p_K: Sequence[float | None] = [None] * len(first_K)
    if isinstance(first, Exchangeable) and isinstance(second, Exchangeable):
        p_K = permutation_test(first, second, items, samples, seed).tolist()
    return [
        Difference(float(before), float(after), *interval, p=p)
        if interval and np.isfinite(before) and np.isfinite(after)
        else None
        for before, after, interval, p in zip(first_K, second_K, found, p_K, strict=True)
    ]


def permutation_test(
    first: Exchangeable, second: Exchangeable, items: int, samples: int, seed: int
) -> np.ndarray:
    """Two-sided p of each of K differences by trading items at random, ``float64 [K]``.

    If the encoders are equally good, which of them gave which of an item's two scores is
    arbitrary, so trading them leaves the distribution of the difference (Fisher 1935; for systems
    on one test set, Yeh, COLING 2000). Counting the observed assignment,
    p = (1 + #{|traded| >= |observed|}) / (1 + samples) is never zero (Phipson & Smyth 2010).
    """
    observed_K = np.abs(first.exchanged(second, np.zeros((1, items), dtype=bool))[0])
    generator = np.random.default_rng([seed, 1])  # other draws than those of the bootstrap
    step = max(1, BLOCK_ENTRIES // max(1, items))
    extreme_K = np.ones(len(observed_K))
    for start in range(0, samples, step):
        swap_SN = generator.random((min(step, samples - start), items)) < 0.5
        traded_SK = np.abs(first.exchanged(second, swap_SN))
        # Sums of the same numbers in another order differ by rounding; an undefined trade counts.
        extreme_K += (~(traded_SK < observed_K - 1e-12)).sum(axis=0)
    return extreme_K / (1 + samples)


def holm(p_M: Sequence[float]) -> np.ndarray:
    """p values corrected for M tests, ``float64 [M]`` (Holm, Scand. J. Statist. 1979).

    The smallest is multiplied by M, the next by M - 1, and so on, none falling below the one
    before: the chance of any false finding among them stays below the level.
    """
    raw_M = np.asarray(p_M, dtype=np.float64)
    order_M = np.argsort(raw_M, kind="stable")
    stepped_M = np.maximum.accumulate(raw_M[order_M] * np.arange(len(raw_M), 0, -1))
    adjusted_M = np.empty_like(raw_M)
    adjusted_M[order_M] = np.minimum(stepped_M, 1.0)
    return adjusted_M


def _intervals(
    statistic: Statistic,
    value_K: np.ndarray,
    items: int,
    samples: int,
    seed: int,
    method: IntervalMethod,
) -> list[tuple[float, float] | None]:
    replicate_SK = replicates(statistic, items, samples, seed)
    left_out_JK = statistic(_left_out(items, seed)) if method == "bca" and items > 1 else None
    found: list[tuple[float, float] | None] = []
    for column, value in enumerate(value_K):
        defined = replicate_SK[np.isfinite(replicate_SK[:, column]), column]
        if not defined.size:
            found.append(None)
            continue
        percentiles: Sequence[float] = PERCENTILES
        if left_out_JK is not None:
            percentiles = _bca_percentiles(value, defined, left_out_JK[:, column]) or PERCENTILES
        low, high = np.percentile(defined, percentiles)
        found.append((float(low), float(high)))
    return found


def _left_out(items: int, seed: int) -> np.ndarray:
    """Items that are kept when each group in turn is left out, ``int64 [J, N - N // J]``."""
    groups = min(items, JACKKNIFE_GROUPS)
    size = items // groups
    shuffled = np.random.default_rng([seed, 2]).permutation(items)
    return np.stack(
        [np.delete(shuffled, slice(one * size, (one + 1) * size)) for one in range(groups)]
    )


def _bca_percentiles(
    value: float, replicate_S: np.ndarray, left_out_J: np.ndarray
) -> tuple[float, float] | None:
    """Percentiles of the replicates that bound the BCa interval; None where it is undefined."""
    left_out_J = left_out_J[np.isfinite(left_out_J)]
    influence_J = left_out_J.mean() - left_out_J if left_out_J.size else np.zeros(1)
    scale = np.sum(influence_J**2) ** 1.5
    if scale < 1e-300 or not np.isfinite(value):
        return None
    acceleration = np.sum(influence_J**3) / (6 * scale)
    below = (np.mean(replicate_S < value) + np.mean(replicate_S <= value)) / 2
    bias = special.ndtri(below)
    if not np.isfinite(bias):
        return None
    low, high = (
        100 * special.ndtr(bias + (bias + z) / (1 - acceleration * (bias + z)))
        for z in special.ndtri([LEVEL / 2, 1 - LEVEL / 2])
    )
    return (float(low), float(high)) if low <= high else None
