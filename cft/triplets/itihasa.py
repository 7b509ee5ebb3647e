"""Stage-1 triplets: a verse with its translation, and a verse with the next one.

Where chapters are known, a positive never crosses a chapter border and a hard negative comes from
another chapter. Where they are not, neighbouring rows are taken for neighbouring verses and
distance alone makes a negative: the rule of the original system.
"""

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from cft.corpora.base import VersePair
from cft.errors import CftError
from cft.triplets.base import Triplets, concatenated, draws

log = logging.getLogger(__name__)

CROSS_LINGUAL, MONO_SA = "cross_lingual", "mono_sa"
_UNIFORM_ROUNDS = 32


def chapters_known(pairs: Sequence[VersePair]) -> bool:
    """Whether every row names its chapter."""
    return all(pair.chapter is not None for pair in pairs)


def epic_triplets(
    pairs: Sequence[VersePair], triplet_types: str, min_distance: int, seed: int
) -> Triplets:
    """Stage-1 triplets of a parallel corpus, in the order of its rows.

    Cross-lingual: (verse, its translation, a distant translation). Monolingual: (verse, the next
    verse, a distant verse); verses are next to each other when their source rows are.

    Args:
        pairs: training rows in narrative order.
        triplet_types: ``cross_lingual``, ``mono_sa`` or ``both``.
        min_distance: rows that lie at least between an anchor and its hard negative.
        seed: of the draw of the negatives.

    Raises:
        CftError: there are too few rows, or too few chapters, to draw a distant negative.
    """
    started = time.perf_counter()
    if len(pairs) < 2 * min_distance:
        raise CftError(
            f"stage-1 triplets: {len(pairs)} training rows leave no hard negative at distance "
            f"{min_distance} for every row; give at least {2 * min_distance} rows or lower "
            "min_distance"
        )
    rows = _Rows(pairs, min_distance)
    parts = []
    if triplet_types in (CROSS_LINGUAL, "both"):
        parts.append(rows.cross_lingual(draws(seed, CROSS_LINGUAL)))
    if triplet_types in (MONO_SA, "both"):
        parts.append(rows.mono_sa(draws(seed, MONO_SA)))
    triplets = concatenated(parts)
    seconds = time.perf_counter() - started
    log.info(
        "stage-1 triplets: %d in %.1f s, %.0f triplets/s",
        len(triplets), seconds, len(triplets) / seconds,
    )  # fmt: skip
    return triplets


class _Rows:
    """The corpus as arrays: texts and chapters by number, so that draws compare integers."""

    def __init__(self, pairs: Sequence[VersePair], min_distance: int) -> None:
        self.sanskrit = [pair.sanskrit for pair in pairs]
        self.english = [pair.english for pair in pairs]
        self.min_distance = min_distance
        self.known = chapters_known(pairs)
        self.sanskrit_N, self.english_N = _codes(self.sanskrit), _codes(self.english)
        self.chapter_N = _codes([pair.chapter or "" for pair in pairs])
        self.row_N = np.array([pair.row for pair in pairs], dtype=np.int64)

    def cross_lingual(self, rng: np.random.Generator) -> Triplets:
        anchor_M = np.arange(len(self.sanskrit))
        negative_M = self._distant(anchor_M, anchor_M, self.english_N, rng)
        return Triplets(
            anchor=list(self.sanskrit),
            positive=list(self.english),
            negatives=[(self.english[row],) for row in negative_M.tolist()],
            kind=[CROSS_LINGUAL] * len(anchor_M),
        )

    def mono_sa(self, rng: np.random.Generator) -> Triplets:
        next_to = np.diff(self.row_N) == 1
        if self.known:
            next_to &= self.chapter_N[1:] == self.chapter_N[:-1]
        next_to &= self.sanskrit_N[1:] != self.sanskrit_N[:-1]  # a refrain is no second text
        anchor_M = np.flatnonzero(next_to)
        negative_M = self._distant(anchor_M, anchor_M + 1, self.sanskrit_N, rng)
        return Triplets(
            anchor=[self.sanskrit[row] for row in anchor_M.tolist()],
            positive=[self.sanskrit[row + 1] for row in anchor_M.tolist()],
            negatives=[(self.sanskrit[row],) for row in negative_M.tolist()],
            kind=[MONO_SA] * len(anchor_M),
        )

    def _distant(
        self,
        anchor_M: np.ndarray,
        positive_M: np.ndarray,
        text_N: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """A row for each anchor, uniform over the rows that may be its hard negative, ``[M]``.

        Excluded beside the near rows: rows of the same chapter, and rows whose text is the
        anchor or any positive that some row gives the anchor's text.
        """
        base = int(max(self.sanskrit_N.max(), text_N.max())) + 1
        positives = np.unique(self.sanskrit_N[anchor_M] * base + text_N[positive_M])

        def refused(anchors: np.ndarray, candidates: np.ndarray) -> np.ndarray:
            pair = self.sanskrit_N[anchors] * base + text_N[candidates]
            bad = np.isin(pair, positives) | (
                self.sanskrit_N[anchors] == self.sanskrit_N[candidates]
            )
            if self.known:
                bad |= self.chapter_N[anchors] == self.chapter_N[candidates]
            return bad

        return _draw_distant(anchor_M, len(self.sanskrit), self.min_distance, refused, rng)


def _draw_distant(
    anchor_M: np.ndarray,
    num_rows: int,
    min_distance: int,
    refused: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw rows at least ``min_distance`` away until none is refused."""
    below_M = np.maximum(anchor_M - min_distance + 1, 0)  # rows that are far enough on the left
    above_M = np.maximum(num_rows - anchor_M - min_distance, 0)
    drawn_M = np.full(len(anchor_M), -1, dtype=np.int64)
    open_M = np.arange(len(anchor_M))
    for _ in range(_UNIFORM_ROUNDS):
        if not len(open_M):
            return drawn_M
        offset = rng.integers(0, below_M[open_M] + above_M[open_M])
        left = offset < below_M[open_M]
        right_of = anchor_M[open_M] + min_distance + offset - below_M[open_M]
        candidate = np.where(left, offset, right_of)
        bad = refused(anchor_M[open_M], candidate)
        drawn_M[open_M[~bad]] = candidate[~bad]
        open_M = open_M[bad]
    for one in open_M.tolist():  # hardly anything is allowed: list it
        anchor = int(anchor_M[one])
        far = np.r_[0 : below_M[one], anchor + min_distance : num_rows].astype(np.int64)
        allowed = far[~refused(np.full(len(far), anchor), far)]
        if not len(allowed):
            raise CftError(
                f"stage-1 triplets: training row {anchor} has no hard negative: every row at "
                f"distance {min_distance} is of its own chapter or has its text; give more "
                "chapters or lower min_distance"
            )
        drawn_M[one] = rng.choice(allowed)
    return drawn_M


def _codes(texts: Sequence[str]) -> np.ndarray:
    """A number for each distinct text, ``int64 [N]``."""
    numbers: dict[str, int] = {}
    return np.fromiter(
        (numbers.setdefault(text, len(numbers)) for text in texts), np.int64, len(texts)
    )
