"""The hard negatives of some rows: exact top-k below the margin, shard by shard.

A candidate is kept when its score is at most (1 - margin) times that of the row's own positive
(the positive-aware mining with a percentage of Moreira et al., "NV-Retriever", arXiv:2407.15831).
A positive with a negative score s has the bound s - margin |s|, so that the margin keeps its
direction.

Suffixes: N rows, Q rows at once, S candidates of a shard, W ranks of the window, K negatives.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from cft.mining.question import Question
from cft.mining.settings import MiningSettings
from cft.mining.topk import TopK

_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_DRAWS = 64  # tries to draw a random text that is no known positive


class Answers(Protocol):
    """Scores of Q rows with the candidates of their group."""

    by_positive_Q: np.ndarray

    def pairs(self, text_QM: np.ndarray) -> np.ndarray: ...

    def shards(self) -> Iterator[tuple[int, np.ndarray]]: ...

    def allowed(self, score_QS: np.ndarray) -> np.ndarray: ...


class Scores(Protocol):
    """Scores rows of a question."""

    rows_at_once: int

    def ask(self, row_Q: np.ndarray) -> Answers: ...


def hard_negatives(
    question: Question,
    row_Q: np.ndarray,
    pool_P: np.ndarray,
    answers: Answers,
    settings: MiningSettings,
) -> dict[str, np.ndarray]:
    """What is found for some rows of a group.

    Args:
        question: the rows.
        row_Q: which of them.
        pool_P: candidates, as rising numbers of texts.
        answers: the scores of these rows.
        settings: margin, ranks and how many.

    Returns:
        ``negative_QK`` numbers of texts, the hardest first, -1 where a row has found fewer, and
        ``mined_QK`` their scores; the scores ``positive_Q``, ``given_QG`` (of the negatives that
        the rows came with) and ``random_Q`` (of a text drawn from the pool by the seed), NaN
        where there is none; ``by_positive_Q``, whether the positive was the query.
    """
    positive_Q = answers.pairs(question.positive_N[row_Q, None])[:, 0]
    bound_Q = positive_Q - np.float32(settings.margin) * np.abs(positive_Q)
    query_X, text_X = question.known(row_Q)
    place_X = np.searchsorted(pool_P, text_X)
    inside_X = pool_P[place_X.clip(max=len(pool_P) - 1)] == text_X
    query_X, place_X = query_X[inside_X], place_X[inside_X]

    best = TopK(len(row_Q), min(settings.range_max, len(pool_P)))
    for start, score_QS in answers.shards():
        allowed_QS = (score_QS <= bound_Q[:, None]) & answers.allowed(score_QS)
        here_X = (place_X >= start) & (place_X < start + score_QS.shape[1])
        allowed_QS[query_X[here_X], place_X[here_X] - start] = False
        best.add(score_QS, start, allowed_QS)
    place_QW, score_QW = (one[:, settings.range_min :] for one in best.result())
    place_QK, score_QK = _sampled(row_Q, place_QW, score_QW, settings)

    random_Q = _random_places(row_Q, query_X, place_X, len(pool_P), settings.seed)
    random_score_Q = answers.pairs(pool_P[random_Q.clip(min=0), None])[:, 0]
    return {
        "negative_QK": np.where(place_QK < 0, -1, pool_P[place_QK]),
        "mined_QK": score_QK,
        "positive_Q": positive_Q,
        "given_QG": answers.pairs(question.given_NK[row_Q]),
        "random_Q": np.where(random_Q < 0, np.float32(np.nan), random_score_Q),
        "by_positive_Q": answers.by_positive_Q,
    }


def _sampled(
    row_Q: np.ndarray, place_QW: np.ndarray, score_QW: np.ndarray, settings: MiningSettings
) -> tuple[np.ndarray, np.ndarray]:
    """The first K of the window, or K of it by the seed in the order of their ranks."""
    wide = settings.num_negatives - place_QW.shape[1]
    if wide > 0:  # a pool of fewer texts than negatives
        place_QW = np.pad(place_QW, ((0, 0), (0, wide)), constant_values=-1)
        score_QW = np.pad(score_QW, ((0, 0), (0, wide)), constant_values=-np.inf)
    if settings.sampling == "random":
        lot_QW = mixed(settings.seed, row_Q[:, None], place_QW)
        lot_QW[place_QW < 0] = np.iinfo(np.uint64).max
        chosen_QK = np.argsort(lot_QW, axis=1, kind="stable")[:, : settings.num_negatives]
        chosen_QK.sort(axis=1)
    else:
        chosen_QK = np.broadcast_to(
            np.arange(settings.num_negatives), (len(row_Q), settings.num_negatives)
        )
    return (
        np.take_along_axis(place_QW, chosen_QK, axis=1),
        np.take_along_axis(score_QW, chosen_QK, axis=1),
    )


def _random_places(
    row_Q: np.ndarray, query_X: np.ndarray, place_X: np.ndarray, pool: int, seed: int
) -> np.ndarray:
    """A place for each row that is no known positive of it; -1 where none was drawn."""
    known = query_X * pool + place_X
    found_Q = np.full(len(row_Q), -1, dtype=np.int64)
    for turn in range(_DRAWS):
        open_Q = np.flatnonzero(found_Q < 0)
        if not len(open_Q):
            break
        drawn = (mixed(seed, row_Q[open_Q], np.array(turn)) % np.uint64(pool)).astype(np.int64)
        fresh = ~np.isin(open_Q * pool + drawn, known)
        found_Q[open_Q[fresh]] = drawn[fresh]
    return found_Q


def mixed(seed: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pseudo-random ``uint64`` of pairs of numbers: draws that no cut of the rows changes.

    The finaliser of SplitMix64 (Steele et al., OOPSLA 2014), once for each number.
    """
    with np.errstate(over="ignore"):
        state = np.array(seed, dtype=np.uint64) * _MIX[0]
        for number in (one, other):
            state = state + (np.asarray(number).astype(np.uint64) + np.uint64(1)) * _MIX[0]
            state = (state ^ (state >> np.uint64(30))) * _MIX[1]
            state = (state ^ (state >> np.uint64(27))) * _MIX[2]
            state = state ^ (state >> np.uint64(31))
    return np.asarray(state)
