"""How the embeddings of a set of texts lie on the sphere: anisotropy, uniformity, alignment.

All figures are over the N(N-1)/2 pairs of distinct texts. Suffixes: N texts, D dimensions,
S bootstrap resamples, K kept pairs. Vectors are unit rows; blocks of the cosine matrix are made
and dropped, so that memory does not grow with N squared.
"""

import dataclasses

import numpy as np

from cft.evaluation.metrics import row_chunks

GEOMETRY = (
    *(f"anisotropy/{moment}" for moment in ("mean", "std", "min", "max", "range")),
    "uniformity",
)


@dataclasses.dataclass(frozen=True)
class Anisotropy:
    """Moments of the pairwise cosines off the diagonal; a cone has a high mean, low spread.

    The mean is the anisotropy of Ethayarajh (EMNLP 2019); ``std`` divides by the number of pairs.
    """

    mean: float
    std: float
    min: float
    max: float

    @property
    def range(self) -> float:
        """Maximum minus minimum."""
        return self.max - self.min


def mean_cosine(vector_ND: np.ndarray) -> float:
    """Mean cosine of distinct rows, from sum_ij cos = |sum_i v_i|^2 without any matrix."""
    total_D = vector_ND.sum(axis=0, dtype=np.float64)
    own = np.einsum("nd,nd->", vector_ND.astype(np.float64), vector_ND.astype(np.float64))
    rows = len(vector_ND)
    return float((total_D @ total_D - own) / (rows * (rows - 1)))


def anisotropy(vector_ND: np.ndarray) -> Anisotropy:
    """Mean, standard deviation, minimum and maximum of the pairwise cosines; NaN below two rows."""
    rows = len(vector_ND)
    if rows < 2:
        return Anisotropy(np.nan, np.nan, np.nan, np.nan)
    mean, squares, low, high = mean_cosine(vector_ND), 0.0, np.inf, -np.inf
    for chunk in row_chunks(rows, rows):
        cosine_cN = vector_ND[chunk] @ vector_ND.T
        diagonal = (np.arange(chunk.stop - chunk.start), np.arange(chunk.start, chunk.stop))
        cosine_cN[diagonal] = np.inf
        low = min(low, float(cosine_cN.min()))
        cosine_cN[diagonal] = -np.inf
        high = max(high, float(cosine_cN.max()))
        cosine_cN[diagonal] = mean
        squares += float(np.square(cosine_cN - np.float32(mean)).sum(dtype=np.float64))
    return Anisotropy(mean, float(np.sqrt(squares / (rows * (rows - 1)))), low, high)


def uniformity(vector_ND: np.ndarray) -> float:
    """log E exp(-2 |x - y|^2) over pairs of distinct rows; lower is more uniform.

    Wang & Isola, "Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere", ICML 2020, with t = 2. On the unit sphere
    |x - y|^2 = 2 - 2 cos, so the value lies between -8 and 0. NaN below two rows.
    """
    rows = len(vector_ND)
    if rows < 2:
        return float("nan")
    total = 0.0
    for chunk in row_chunks(rows, rows):
        potential_cN = potential(vector_ND[chunk] @ vector_ND.T)
        own = np.arange(chunk.stop - chunk.start)
        potential_cN[own, own + chunk.start] = 0.0
        total += float(potential_cN.sum(dtype=np.float64))
    return float(np.log(total / (rows * (rows - 1))))


def potential(cosine: np.ndarray) -> np.ndarray:
    """The Gaussian potential exp(-2 |x - y|^2) = exp(4 (cos - 1)) of unit vectors."""
    return np.exp(4.0 * (np.minimum(cosine, 1.0) - 1.0))


def alignment(cosine_P: np.ndarray) -> np.ndarray:
    """|x - y|^2 = 2 - 2 cos of each positive pair, ``[P]``; its mean is alignment, lower is closer.

    Wang & Isola 2020 with alpha = 2.
    """
    return 2.0 - 2.0 * np.asarray(cosine_P, dtype=np.float64)


class GeometryStatistic:
    """The six :data:`GEOMETRY` figures of resampled texts, as a bootstrap statistic.

    Cosines of pairs that share a text are not independent, so texts are resampled and not pairs.
    A pair of copies of one text is left out (its cosine of 1 says nothing about the encoder);
    each other pair weighs the product of its texts' multiplicities.
    """

    def __init__(self, vector_ND: np.ndarray) -> None:
        self.vector_ND = vector_ND
        self.mean = mean_cosine(vector_ND)
        kept = min(len(vector_ND) * (len(vector_ND) - 1) // 2, 8 * len(vector_ND) + 1000, 50_000)
        self.lowest = extreme_pairs(vector_ND, kept)
        self.highest = extreme_pairs(-vector_ND, kept, other_ND=vector_ND)

    def __call__(self, item_SN: np.ndarray) -> np.ndarray:
        """``int [S, N]`` rows of resampled texts -> ``float64 [S, 6]``; NaN without any pair."""
        samples, rows = len(item_SN), len(self.vector_ND)
        flat = item_SN + rows * np.arange(samples)[:, None]
        weight_SN = np.bincount(flat.ravel(), minlength=samples * rows).reshape(samples, rows)
        pairs_S = item_SN.shape[1] ** 2 - np.square(weight_SN).sum(axis=1).astype(np.float64)
        pairs_S[pairs_S == 0] = np.nan
        weights = weight_SN.astype(np.float32)
        sums_S3 = np.zeros((samples, 3))
        for chunk in row_chunks(rows, rows):
            # Centred, so that float32 sums keep the digits of a narrow cone.
            centred_cN = self.vector_ND[chunk] @ self.vector_ND.T
            potential_cN = potential(centred_cN)
            centred_cN -= np.float32(self.mean)
            own = np.arange(chunk.stop - chunk.start)
            for column, block_cN in enumerate((centred_cN, np.square(centred_cN), potential_cN)):
                block_cN[own, own + chunk.start] = 0.0
                product_Sc = (weights @ block_cN.T) * weights[:, chunk]
                sums_S3[:, column] += product_Sc.sum(axis=1, dtype=np.float64)
        shift_S, square_S, potential_S = (sums_S3 / pairs_S[:, None]).T
        present_SN = weight_SN > 0
        low_S = self._first_present(present_SN, *self.lowest, sign=1.0)
        high_S = self._first_present(present_SN, *self.highest, sign=-1.0)
        return np.stack(
            [
                self.mean + shift_S,
                np.sqrt(np.maximum(square_S - shift_S**2, 0.0)),
                low_S,
                high_S,
                high_S - low_S,
                np.log(potential_S),
            ],
            axis=1,
        )

    def _first_present(
        self,
        present_SN: np.ndarray,
        first_K: np.ndarray,
        second_K: np.ndarray,
        value_K: np.ndarray,
        sign: float,
    ) -> np.ndarray:
        """Extreme cosine of each resample: the first kept pair whose two texts are both in it."""
        extreme_S = np.full(len(present_SN), np.nan)
        for sample, present_N in enumerate(present_SN):
            both_K = present_N[first_K] & present_N[second_K]
            if both_K.any():
                extreme_S[sample] = sign * value_K[both_K.argmax()]
            elif present_N.sum() > 1:  # no kept pair survived: look at all of them
                resampled = anisotropy(self.vector_ND[present_N])
                extreme_S[sample] = resampled.min if sign > 0 else resampled.max
        return extreme_S


def extreme_pairs(
    vector_ND: np.ndarray, kept: int, other_ND: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ``kept`` smallest products i < j in rising order: ``(i_K, j_K, product_K)``.

    ``other_ND`` stands for the second factor (give negated rows and the rows for the largest).
    """
    other_ND = vector_ND if other_ND is None else other_ND
    rows = len(vector_ND)
    best_K, place_K = np.empty(0, np.float32), np.empty(0, np.int64)
    for chunk in row_chunks(rows, rows):
        product_cN = vector_ND[chunk] @ other_ND.T
        later_cN = np.arange(rows)[None, :] > np.arange(chunk.start, chunk.stop)[:, None]
        place_K = np.concatenate([place_K, np.flatnonzero(later_cN) + chunk.start * rows])
        best_K = np.concatenate([best_K, product_cN[later_cN]])
        if len(best_K) > kept:
            keep = np.argpartition(best_K, kept - 1)[:kept]
            best_K, place_K = best_K[keep], place_K[keep]
    order_K = np.lexsort((place_K, best_K))
    return place_K[order_K] // rows, place_K[order_K] % rows, best_K[order_K].astype(np.float64)
