"""Retrieval, correlation and triplet metrics: pure functions of arrays.

Suffixes name axes: Q queries, M documents, E (query, document) edges, P pairs, T triplets,
D dimensions. Cosines that differ by at most :data:`TIE` count as equal: float32 products of
equal vectors differ by that much with their place in a matrix, and equal scores share their mean
rank, so an encoder that maps every text to one vector scores like chance and not like luck.
"""

from collections.abc import Iterator

import numpy as np
from scipy import stats

from cft.errors import CftError

TIE = 1e-6
CHUNK_ENTRIES = 1 << 22  # cosines held at once: 16 MB in float32


def unit_rows(vector_ND: np.ndarray) -> np.ndarray:
    """Rows scaled to unit Euclidean norm, ``float32 [N, D]``.

    Raises:
        CftError: a row is zero or not finite, so that it has no direction.
    """
    vector_ND = np.asarray(vector_ND, dtype=np.float64)
    norm_N = np.sqrt(np.einsum("nd,nd->n", vector_ND, vector_ND))
    bad_N = np.flatnonzero(~(np.isfinite(norm_N) & (norm_N > 0)))
    if bad_N.size:
        raise CftError(
            f"vector row {bad_N[0]}: norm {norm_N[bad_N[0]]} has no direction; "
            "give finite vectors that are not zero"
        )
    return (vector_ND / norm_N[:, None]).astype(np.float32)


def row_chunks(rows: int, columns: int) -> Iterator[slice]:
    """Slices over ``rows`` whose blocks of ``columns`` stay under :data:`CHUNK_ENTRIES`."""
    step = max(1, CHUNK_ENTRIES // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def row_cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    """Cosine of each row of ``a`` with the same row of ``b``, ``float64 [N]``; unit rows in."""
    return np.einsum("nd,nd->n", a_ND.astype(np.float64), b_ND.astype(np.float64))


def retrieval_ranks(
    query_QD: np.ndarray, document_MD: np.ndarray, query_E: np.ndarray, document_E: np.ndarray
) -> np.ndarray:
    """Rank of each query's best right answer among the wrong documents, ``float64 [Q]``.

    ``(query_E[e], document_E[e])`` says that a document is a right answer of a query; every query
    needs one. Other right answers are not errors and take no rank:

        rank = 1 + #{wrong: cos > best} + 1/2 #{wrong: cos = best}

    which is the mean rank over all orders of the tied documents (1.0 is best). Queries and
    documents are unit rows; the cosine matrix is never held whole.

    Raises:
        CftError: a query has no right answer.
    """
    edge_E2 = np.unique(np.stack([query_E, document_E], axis=1), axis=0)  # sorted by query
    first_Q = np.searchsorted(edge_E2[:, 0], np.arange(len(query_QD) + 1))
    empty_Q = np.flatnonzero(np.diff(first_Q) == 0)
    if empty_Q.size:
        raise CftError(
            f"query {empty_Q[0]}: no right answer among the documents; "
            "leave it out or name its document"
        )
    rank_Q = np.empty(len(query_QD))
    for rows in row_chunks(len(query_QD), len(document_MD)):
        cosine_qM = query_QD[rows] @ document_MD.T
        edges = edge_E2[first_Q[rows.start] : first_Q[rows.stop]]
        row_e, document_e = edges[:, 0] - rows.start, edges[:, 1]
        right_e = cosine_qM[row_e, document_e]
        best_q = np.maximum.reduceat(right_e, first_Q[rows] - first_Q[rows.start])
        cosine_qM[row_e, document_e] = -np.inf
        gap_qM = cosine_qM - best_q[:, None]
        better_q = np.count_nonzero(gap_qM > TIE, axis=1)
        at_least_q = np.count_nonzero(gap_qM >= -TIE, axis=1)
        rank_Q[rows] = 1 + better_q + (at_least_q - better_q) / 2
    return rank_Q


def paired_ranks(
    query_PD: np.ndarray, document_PD: np.ndarray, query_id_P: np.ndarray, document_id_P: np.ndarray
) -> np.ndarray:
    """Ranks for aligned pairs, row p of the documents answering row p of the queries, ``[P]``.

    Equal ids are equal texts: a document that occurs twice is one document of the pool, and a
    query that occurs twice has every document that any of its rows gives it as a right answer.
    """
    _, query_first, query_P = np.unique(query_id_P, return_index=True, return_inverse=True)
    _, document_first, document_P = np.unique(document_id_P, return_index=True, return_inverse=True)
    rank_Q = retrieval_ranks(
        query_PD[query_first], document_PD[document_first], query_P, document_P
    )
    return rank_Q[query_P]


def reciprocal_ranks(rank_Q: np.ndarray) -> np.ndarray:
    """1 / rank; its mean is MRR (Voorhees, TREC-8 question answering track report, 1999)."""
    return 1.0 / np.asarray(rank_Q, dtype=np.float64)


def hits(rank_Q: np.ndarray, k: int) -> np.ndarray:
    """1.0 where the rank is at most k, else 0.0; its mean is recall@k.

    With one right answer a query, recall@k is the share of queries that find it among k
    documents, as in bitext retrieval (Artetxe & Schwenk, TACL 2019).
    """
    return (np.asarray(rank_Q) <= k).astype(np.float64)


def pearson(x_SN: np.ndarray, y_SN: np.ndarray) -> np.ndarray:
    """Pearson's r along the last axis, ``[...]``; NaN where a side is constant.

    r = sum (x - mean x)(y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2)
    """
    x_SN = np.asarray(x_SN, dtype=np.float64)
    y_SN = np.asarray(y_SN, dtype=np.float64)
    # Subtracting the mean of equal numbers can leave rounding dust that would correlate.
    constant_S = (np.ptp(x_SN, axis=-1) == 0) | (np.ptp(y_SN, axis=-1) == 0)
    x_SN = x_SN - x_SN.mean(axis=-1, keepdims=True)
    y_SN = y_SN - y_SN.mean(axis=-1, keepdims=True)
    scale_S = np.sqrt((x_SN**2).sum(axis=-1) * (y_SN**2).sum(axis=-1))
    constant_S = constant_S | (scale_S == 0)
    r_S = (x_SN * y_SN).sum(axis=-1) / np.where(constant_S, 1.0, scale_S)
    return np.where(constant_S, np.nan, np.clip(r_S, -1.0, 1.0))


def spearman(x_SN: np.ndarray, y_SN: np.ndarray) -> np.ndarray:
    """Spearman's rho along the last axis: Pearson's r of mean ranks (Spearman 1904).

    The figure that STS benchmarks report for cosines against human scores (Reimers et al.,
    COLING 2016). NaN where a side is constant.
    """
    return pearson(stats.rankdata(x_SN, axis=-1), stats.rankdata(y_SN, axis=-1))


def triplet_wins(positive_T: np.ndarray, negative_T: np.ndarray) -> np.ndarray:
    """1.0 where cos(anchor, positive) > cos(anchor, negative), 0.5 for a tie, else 0.0, ``[T]``.

    Its mean is triplet accuracy, which for one anchor and many candidates is the area under the
    ROC curve (the Mann-Whitney statistic), ties counted as there.
    """
    gap_T = np.asarray(positive_T) - np.asarray(negative_T)
    return np.where(np.abs(gap_T) <= TIE, 0.5, (gap_T > 0).astype(np.float64))


def triplet_margins(positive_T: np.ndarray, negative_T: np.ndarray) -> np.ndarray:
    """cos(anchor, positive) - cos(anchor, negative), ``[T]``, between -2 and 2."""
    return np.asarray(positive_T, dtype=np.float64) - np.asarray(negative_T, dtype=np.float64)
