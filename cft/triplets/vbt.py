"""Stage-2 triplets: four strategies over a small verse corpus, negatives from the epic.

All verses of such a corpus share their themes, so none of them is a safe hard negative for
another; the negatives come from the training rows of the epic instead.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cft.corpora.base import VersePair
from cft.errors import CftError
from cft.text import has_devanagari
from cft.triplets.base import Triplets, concatenated, draws
from cft.triplets.groups import components

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Domains:
    """Practice domains: verses connected by similarity pairs.

    Attributes:
        members: verse numbers of each domain of two or more verses.
        unpaired: verses in no domain.
    """

    members: list[list[int]]
    unpaired: int


def domains_of(verses: Sequence[VersePair], pairs: Sequence[tuple[str, str]]) -> Domains:
    """Domains by union-find over the pairs of two verses; translations and free texts tie none."""
    number = {verse.sanskrit: one for one, verse in enumerate(verses)}
    links = [(number[a], number[b]) for a, b in pairs if a in number and b in number]
    component_V = components(len(verses), links)
    members = [np.flatnonzero(component_V == root).tolist() for root in np.unique(component_V)]
    members = [one for one in members if len(one) > 1]
    return Domains(members, len(verses) - sum(map(len, members)))


def verse_triplets(
    verses: Sequence[VersePair],
    similarity_pairs: Sequence[tuple[str, str]],
    epic: Sequence[VersePair],
    strategies: Sequence[str],
    n_negs: int,
    seed: int,
) -> tuple[Triplets, dict[str, int]]:
    """Stage-2 triplets of the given verses, in the order of the strategies.

    A: each similarity pair with ``n_negs`` different negatives. B: all pairs within a domain that
    are not already in A. C: (verse, translation, epic English). D: (translation, verse, epic
    Sanskrit). A negative is in the language of the positive. Rows that repeat a whole triplet,
    pair and negative, are dropped; the same pair with another negative is another row.

    Returns:
        The triplets, and the rows that each strategy gave.

    Raises:
        CftError: the epic has fewer texts than ``n_negs``, or no strategy gives a row.
    """
    pools = _Pools(verses, similarity_pairs, epic)
    sanskrit = {verse.sanskrit for verse in verses}
    english = {verse.english for verse in verses}

    def direct() -> Triplets:
        is_english = [
            b in english or (b not in sanskrit and not has_devanagari(b))
            for _, b in similarity_pairs
        ]
        return pools.rows("A", similarity_pairs, is_english, n_negs, seed)

    def expanded() -> Triplets:
        known = {frozenset(pair) for pair in similarity_pairs}
        pairs = [
            (verses[a].sanskrit, verses[b].sanskrit)
            for members in domains_of(verses, similarity_pairs).members
            for a, b in combinations(members, 2)
            if frozenset((verses[a].sanskrit, verses[b].sanskrit)) not in known
        ]
        return pools.rows("B", pairs, [False] * len(pairs), 1, seed)

    def to_english() -> Triplets:
        pairs = [(verse.sanskrit, verse.english) for verse in verses]
        return pools.rows("C", pairs, [True] * len(pairs), 1, seed)

    def to_sanskrit() -> Triplets:
        pairs = [(verse.english, verse.sanskrit) for verse in verses]
        return pools.rows("D", pairs, [False] * len(pairs), 1, seed)

    make = {"A": direct, "B": expanded, "C": to_english, "D": to_sanskrit}
    triplets = _distinct(concatenated(make[name]() for name in dict.fromkeys(strategies)))
    if not len(triplets):
        raise CftError(
            f"stage-2 triplets: strategies {' '.join(strategies)} give no row from {len(verses)} "
            f"verses and {len(similarity_pairs)} similarity pairs; add strategy C or D"
        )
    counts = dict.fromkeys(dict.fromkeys(strategies), 0) | triplets.kinds()
    log.info(
        "stage-2 triplets: %d (%s)",
        len(triplets),
        ", ".join(f"{name} {count}" for name, count in counts.items()),
    )
    return triplets, counts


class _Pools:
    """The epic's texts by language, less those that the verse corpus itself uses."""

    def __init__(
        self,
        verses: Sequence[VersePair],
        pairs: Sequence[tuple[str, str]],
        epic: Sequence[VersePair],
    ) -> None:
        own = {text for verse in verses for text in (verse.sanskrit, verse.english)}
        own.update(text for pair in pairs for text in pair)
        self._texts = {
            False: [t for t in dict.fromkeys(pair.sanskrit for pair in epic) if t not in own],
            True: [t for t in dict.fromkeys(pair.english for pair in epic) if t not in own],
        }

    def rows(
        self,
        kind: str,
        pairs: Sequence[tuple[str, str]],
        is_english: Sequence[bool],
        num_each: int,
        seed: int,
    ) -> Triplets:
        """``num_each`` triplets of every pair, with different negatives."""
        english_P = np.array(is_english, dtype=bool)
        negatives: list[list[str]] = [[] for _ in pairs]
        rng = draws(seed, f"strategy {kind}")
        for language in (False, True):
            chosen = np.flatnonzero(english_P == language)
            texts = self._texts[language]
            if len(chosen) and len(texts) < num_each:
                raise CftError(
                    f"stage-2 triplets, strategy {kind}: {num_each} different negatives asked "
                    f"for, but the epic has {len(texts)} usable texts; lower n_negs or give more "
                    "epic rows"
                )
            for pair in chosen.tolist():
                picked = rng.choice(len(texts), num_each, replace=False, shuffle=False)
                negatives[pair] = [texts[one] for one in picked.tolist()]
        return Triplets(
            anchor=[a for a, _ in pairs for _ in range(num_each)],
            positive=[b for _, b in pairs for _ in range(num_each)],
            negatives=[(text,) for row in negatives for text in row],
            kind=[kind] * (len(pairs) * num_each),
        )


def _distinct(triplets: Triplets) -> Triplets:
    """Drop rows whose anchor, positive and negatives all stood in an earlier row."""
    columns = zip(triplets.anchor, triplets.positive, triplets.negatives, strict=True)
    first: dict[tuple[str, str, tuple[str, ...]], int] = {}
    for row, key in enumerate(columns):
        first.setdefault(key, row)
    kept = list(first.values())
    return Triplets(
        anchor=[triplets.anchor[row] for row in kept],
        positive=[triplets.positive[row] for row in kept],
        negatives=[triplets.negatives[row] for row in kept],
        kind=[triplets.kind[row] for row in kept],
    )
