"""What is asked of a miner, in numbers: rows, candidates, and what no row may be given."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cft.errors import CftError
from cft.text import normalise
from cft.triplets.base import TextIds, Triplets

_LETTER = re.compile(r"[^\W\d_]")
_DEVANAGARI = re.compile("[\u0904-\u0939\u0958-\u0961\u0972-\u097f]")


@dataclass(frozen=True)
class Pairs:
    """Rows of an anchor and its positive, with the hard negatives that they have, if any.

    Attributes:
        anchor: the query of each row.
        positive: a text of like meaning.
        negatives: hard negatives of each row, the same number in all; empty rows for pairs.
        kind: how the row was made.
    """

    anchor: list[str]
    positive: list[str]
    negatives: list[tuple[str, ...]]
    kind: list[str]

    @classmethod
    def of(cls, triplets: Triplets) -> "Pairs":
        """The rows of triplets."""
        return cls(triplets.anchor, triplets.positive, triplets.negatives, triplets.kind)

    def __len__(self) -> int:
        return len(self.anchor)


@dataclass(frozen=True)
class Question:
    """Rows of texts by their number among the distinct texts, which stand in the order of ids.

    Attributes:
        ids_U: ids of the distinct texts, ``int64 [U]``, rising.
        texts: their normal forms.
        anchor_N: number of the anchor of each row, ``int64 [N]``.
        positive_N: number of its positive.
        given_NK: numbers of the hard negatives that it came with, ``[N, K]``, K perhaps 0.
        document_U: whether a text is any row's positive or hard negative: the candidates.
        script_U: 1 for texts mostly in Devanagari, 0 for others, ``int8 [U]``.
        same_script: whether candidates must share the script of a row's positive.
    """

    ids_U: np.ndarray
    texts: list[str]
    anchor_N: np.ndarray
    positive_N: np.ndarray
    given_NK: np.ndarray
    document_U: np.ndarray
    script_U: np.ndarray
    same_script: bool
    _known: tuple[np.ndarray, np.ndarray] = field(repr=False)

    @classmethod
    def of(cls, pairs: Pairs, same_script: bool) -> "Question":
        """Number the texts of the rows.

        Raises:
            CftError: there are no rows, or two different texts share an id.
        """
        if not len(pairs):
            raise CftError("mining: no rows; give pairs or triplets")
        flat = [text for row in pairs.negatives for text in row]
        named = TextIds([*pairs.anchor, *pairs.positive, *flat])
        ids_U, first_U = np.unique(named.ids_U, return_index=True)
        texts = [normalise(named.texts[row]) for row in first_U.tolist()]

        def numbers(column: Sequence[str]) -> np.ndarray:
            return np.searchsorted(ids_U, named.of(column))

        anchor_N, positive_N = numbers(pairs.anchor), numbers(pairs.positive)
        given_NK = numbers(flat).reshape(len(pairs), -1).astype(np.int64)
        document_U = np.zeros(len(ids_U), dtype=bool)
        document_U[positive_N] = document_U[given_NK] = True
        script_U = np.array([mostly_devanagari(text) for text in texts], dtype=np.int8)
        return cls(
            ids_U, texts, anchor_N, positive_N, given_NK, document_U, script_U, same_script,
            _known_positives(len(ids_U), anchor_N, positive_N),
        )  # fmt: skip

    def groups(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows and the candidates that they share: ``(row_N, pool_P)`` as rising numbers."""
        if not self.same_script:
            return [(np.arange(len(self.anchor_N)), np.flatnonzero(self.document_U))]
        script_N = self.script_U[self.positive_N]
        return [
            (np.flatnonzero(script_N == one), np.flatnonzero(self.document_U & own_U))
            for one in np.unique(script_N).tolist()
            for own_U in [self.script_U == one]
        ]

    def known(self, row_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What may be no negative of the rows: ``(which of row_Q, text)``, each ``int64 [X]``.

        That is the anchor itself, every positive that any row gives it, and every text that has
        it as a positive.
        """
        start_U, other_X = self._known
        anchor_Q = self.anchor_N[row_Q]
        begin_Q, count_Q = start_U[anchor_Q], start_U[anchor_Q + 1] - start_U[anchor_Q]
        end_Q = np.cumsum(count_Q)
        place_X = np.arange(count_Q.sum()) + np.repeat(begin_Q - (end_Q - count_Q), count_Q)
        return np.repeat(np.arange(len(row_Q)), count_Q), other_X[place_X]


def _known_positives(
    texts: int, anchor_N: np.ndarray, positive_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each text where its list begins, ``[U + 1]``, and the lists one after the other."""
    every_U = np.arange(texts)
    one = np.concatenate([every_U, anchor_N, positive_N])
    other = np.concatenate([every_U, positive_N, anchor_N])
    edge_X = np.unique(one * texts + other)
    return np.searchsorted(edge_X, np.arange(texts + 1) * texts), edge_X % texts


def mostly_devanagari(text: str) -> bool:
    """Whether at least half of the letters are Devanagari, and there is one."""
    indic = len(_DEVANAGARI.findall(text))
    return indic > 0 and 2 * indic >= len(_LETTER.findall(text))
