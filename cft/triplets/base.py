"""Triplets in memory, the draws behind them, and the ids of their texts."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cft.errors import CftError
from cft.text import normalise, text_ids


@dataclass(frozen=True)
class Triplets:
    """Rows of an anchor, its positive and one or more hard negatives, all as texts.

    Attributes:
        anchor: the query of each row.
        positive: a text of like meaning.
        negatives: hard negatives, the same number in every row.
        kind: how the row was made: ``cross_lingual``, ``mono_sa``, or a strategy ``A`` to ``D``.
    """

    anchor: list[str]
    positive: list[str]
    negatives: list[tuple[str, ...]]
    kind: list[str]

    def __post_init__(self) -> None:
        lengths = {len(self.anchor), len(self.positive), len(self.negatives), len(self.kind)}
        if len(lengths) != 1:
            raise CftError(
                f"triplets: columns of {sorted(lengths)} rows; give every row an anchor, "
                "a positive, negatives and a kind"
            )
        widths = {len(negatives) for negatives in self.negatives}
        if len(widths) > 1 or 0 in widths:
            raise CftError(
                f"triplets: rows with {sorted(widths)} hard negatives; give every row the same "
                "number, at least one"
            )

    def __len__(self) -> int:
        return len(self.anchor)

    @property
    def num_negatives(self) -> int:
        """Hard negatives of each row; 1 where there are no rows."""
        return len(self.negatives[0]) if self.negatives else 1

    def texts(self) -> list[str]:
        """Every distinct text, in the order in which the columns name them first."""
        flat = (text for row in self.negatives for text in row)
        return list(dict.fromkeys((*self.anchor, *self.positive, *flat)))

    def kinds(self) -> dict[str, int]:
        """Rows of each kind."""
        names, counts = np.unique(np.array(self.kind, dtype=np.str_), return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))


def concatenated(parts: Iterable[Triplets]) -> Triplets:
    """The rows of several triplet sets, in order."""
    parts = list(parts)
    return Triplets(
        anchor=[text for part in parts for text in part.anchor],
        positive=[text for part in parts for text in part.positive],
        negatives=[row for part in parts for row in part.negatives],
        kind=[kind for part in parts for kind in part.kind],
    )


def draws(seed: int, purpose: str) -> np.random.Generator:
    """A random generator of its own for each purpose.

    Leaving one kind of triplet out then changes no draw of another.
    """
    return np.random.default_rng([seed, *purpose.encode()])


class TextIds:
    """Ids of a set of texts, each computed once.

    Attributes:
        texts: the distinct texts, in the order they were given.
        ids_U: their ids, ``int64 [U]``.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = list(dict.fromkeys(texts))
        self.ids_U = text_ids(self.texts)
        self._row = {text: row for row, text in enumerate(self.texts)}
        require_no_collision(self.texts, self.ids_U)

    def of(self, column: Iterable[str]) -> np.ndarray:
        """Ids of texts of the set, ``int64 [N]``."""
        row = self._row
        return self.ids_U[np.fromiter((row[text] for text in column), dtype=np.int64)]

    def columns(self, triplets: Triplets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids of the three columns: ``anchor_N``, ``positive_N`` and ``negative_NK``, ``int64``."""
        negatives = self.of(text for row in triplets.negatives for text in row)
        shape = (len(triplets), triplets.num_negatives)
        return self.of(triplets.anchor), self.of(triplets.positive), negatives.reshape(shape)


def require_no_collision(texts: list[str], ids_U: np.ndarray) -> None:
    """Assert that equal ids mean equal normal forms.

    Raises:
        CftError: naming two different texts with one id.
    """
    order = np.argsort(ids_U, kind="stable")
    same = np.flatnonzero(np.diff(ids_U[order]) == 0)
    for one, other in zip(order[same].tolist(), order[same + 1].tolist(), strict=True):
        if normalise(texts[one]) != normalise(texts[other]):
            raise CftError(
                f"text id {ids_U[one]}: shared by {texts[one]!r} and {texts[other]!r}; change one "
                "of the two texts by a character"
            )
