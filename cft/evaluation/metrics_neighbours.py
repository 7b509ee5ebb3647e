"""Nearest neighbours: hubs, and how far an encoder has drifted from its base.

Suffixes: Q queries, M documents, N texts, K neighbours, S resamples, D dimensions. Vectors are
unit rows.
"""

import numpy as np

from cft.errors import CftError
from cft.evaluation.metrics import TIE, row_chunks, row_cosines

NEIGHBOURS = 10  # the k of k-occurrences, as in Radovanović et al.


def nearest(
    query_QD: np.ndarray,
    document_MD: np.ndarray,
    k: int,
    *,
    without_self: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Rows of the ``k`` nearest documents of each query, the nearest first, ``int64 [Q, k]``.

    Cosines within :data:`~cft.evaluation.metrics.TIE` are equal, and equal ones stand in an order
    that is drawn for each query: by position, the first documents of an encoder that maps all
    texts to one vector would look like hubs.

    Args:
        query_QD: unit rows.
        document_MD: unit rows.
        k: at most M, and M - 1 without self.
        without_self: query q is document q, which is not its own neighbour.
        seed: decides between equal cosines only.

    Raises:
        CftError: there are fewer documents than neighbours.
    """
    available = len(document_MD) - int(without_self)
    if not 1 <= k <= available:
        raise CftError(
            f"nearest neighbours: {k} asked for among {available} documents; ask for 1 to "
            f"{max(available, 1)}"
        )
    generator = np.random.default_rng(seed)
    neighbour_QK = np.empty((len(query_QD), k), dtype=np.int64)
    for rows in row_chunks(len(query_QD), 4 * len(document_MD)):  # three arrays of float64 at once
        step_qM = np.round((query_QD[rows] @ document_MD.T).astype(np.float64) / TIE)
        step_qM += generator.random(step_qM.shape) * 0.5
        if without_self:
            step_qM[np.arange(rows.stop - rows.start), np.arange(rows.start, rows.stop)] = -np.inf
        best_qK = np.argpartition(-step_qM, k - 1, axis=1)[:, :k]
        order_qK = np.argsort(-np.take_along_axis(step_qM, best_qK, axis=1), axis=1)
        neighbour_QK[rows] = np.take_along_axis(best_qK, order_qK, axis=1)
    return neighbour_QK


def k_occurrences(neighbour_QK: np.ndarray, documents: int) -> np.ndarray:
    """How many queries have each document among their k nearest, ``int64 [M]``; sums to Q k."""
    return np.bincount(neighbour_QK.ravel(), minlength=documents)


def skewness(x_SN: np.ndarray) -> np.ndarray:
    """Third standardised moment along the last axis, ``[...]``; NaN where all are equal.

        m3 / m2^(3/2), m_r = mean((x - mean x)^r)

    Of k-occurrences it is the hubness of Radovanović, Nanopoulos & Ivanović, "Hubs in Space:
    Popular Nearest Neighbors in High-Dimensional Data", JMLR 11, 2010: near 0 without hubs, above
    1 where a few documents are neighbours of many queries.
    """
    x_SN = np.asarray(x_SN, dtype=np.float64)
    constant_S = np.ptp(x_SN, axis=-1) == 0
    centred_SN = x_SN - x_SN.mean(axis=-1, keepdims=True)
    spread_S = np.where(constant_S, 1.0, np.mean(centred_SN**2, axis=-1))
    return np.where(constant_S, np.nan, np.mean(centred_SN**3, axis=-1) / spread_S**1.5)


def drift(base_ND: np.ndarray, tuned_ND: np.ndarray) -> np.ndarray:
    """1 - cos of each text's embedding under the base and under the tuned encoder, ``[N]``.

    Between 0 (unmoved) and 2. It has a meaning only where the two share their axes: an encoder
    and what fine-tuning made of it.

    Raises:
        CftError: the two differ in texts or dimensions.
    """
    if base_ND.shape != tuned_ND.shape:
        raise CftError(
            f"drift: vectors of shape {base_ND.shape} and {tuned_ND.shape}; an encoder drifts from "
            "the base that it was trained from, on the same texts"
        )
    return 1.0 - row_cosines(base_ND, tuned_ND)


def neighbours_lost(base_NK: np.ndarray, tuned_NK: np.ndarray) -> np.ndarray:
    """Share of each text's k nearest neighbours under the base that the tuned encoder replaced.

    Between 0 and 1, ``[N]``. It does not see rotations, so any two encoders can be compared; two
    unrelated ones come near 1 - k / (N - 1).
    """
    kept_N = (base_NK[:, :, None] == tuned_NK[:, None, :]).any(axis=2).mean(axis=1)
    return 1.0 - kept_N
