"""From clauses to a verse of two halves and its English sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cft.text import normalise

from .clauses import Clause
from .phrases import Word
from .script import to_devanagari

# Changes whenever the same seed would yield other texts: manifests and caches carry it.
GENERATOR_VERSION = "1"


@dataclass(frozen=True)
class Verse:
    """A verse with the structure that it was built from."""

    first: tuple[Word, ...]  # the half before the danda
    second: tuple[Word, ...]
    english: str
    clauses: tuple[Clause, ...]

    @property
    def words(self) -> tuple[Word, ...]:
        """All Sanskrit words in order."""
        return self.first + self.second

    @cached_property
    def sanskrit(self) -> str:
        """The verse in Devanagari, in its normal form."""
        first, second = (
            " ".join(to_devanagari(word.form) for word in half)
            for half in (self.first, self.second)
        )
        return normalise(f"{first}। {second}॥")


def particle(form: str) -> Word:
    """An indeclinable."""
    return Word(form, form, "indeclinable")


def flat(constituents: Sequence[Sequence[Word]]) -> list[Word]:
    """The words of a list of constituents."""
    return [word for constituent in constituents for word in constituent]


def enclitic(constituents: Sequence[Sequence[Word]], form: str) -> list[Word]:
    """Words with an enclitic (ca, tu, hi) after the first one, where it belongs."""
    words = flat(constituents)
    return [words[0], particle(form), *words[1:]]


def halves(constituents: Sequence[Sequence[Word]]) -> tuple[list[Word], list[Word]]:
    """Part one clause between two constituents, as near the middle as can be."""
    total = len(flat(constituents))
    cuts = range(1, len(constituents))
    cut = min(cuts, key=lambda at: (abs(2 * len(flat(constituents[:at])) - total), at))
    return flat(constituents[:cut]), flat(constituents[cut:])


def sentence(text: str) -> str:
    """Capital first letter, single spaces, full stop."""
    text = normalise(text).replace(" ,", ",")
    return text[0].upper() + text[1:] + "."
