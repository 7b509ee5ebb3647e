"""Which verse pairs are fit to learn from, and how many were not."""

from collections.abc import Iterable

from cft.corpora.base import VersePair

# Characters of English per character of Sanskrit. In the Itihasa 99.9% of the pairs lie between
# 0.7 and 6.6; the rows beyond these bounds were cut in the wrong place or have no translation.
MIN_LENGTH_RATIO, MAX_LENGTH_RATIO = 0.4, 12.0
# Beyond these a row is a run of verses under one number, of which a model sees only the head.
MAX_SANSKRIT_WORDS, MAX_ENGLISH_WORDS = 150, 400

EMPTY, DEGENERATE, MISALIGNED = "empty", "degenerate", "misaligned"
OVER_LONG, DUPLICATE = "over_long", "duplicate"


def why_unfit(sanskrit: str, english: str) -> str | None:
    """Name of the filter that drops this pair of normalised texts, or None.

    Empty: a side has no text at all. Degenerate: a side without a letter, or a translation of one
    word. Misaligned: the lengths of the sides are out of proportion. Over-long: far more than a
    verse.
    """
    if not (sanskrit and english):
        return EMPTY
    if not (_has_letter(sanskrit) and _has_letter(english)) or " " not in english:
        return DEGENERATE
    if not MIN_LENGTH_RATIO <= len(english) / len(sanskrit) <= MAX_LENGTH_RATIO:
        return MISALIGNED
    if sanskrit.count(" ") >= MAX_SANSKRIT_WORDS or english.count(" ") >= MAX_ENGLISH_WORDS:
        return OVER_LONG
    return None


def fit_pairs(pairs: Iterable[VersePair], dropped: dict[str, int]) -> list[VersePair]:
    """The pairs that pass every filter, each distinct pair once, in their order.

    ``dropped`` is increased in place: rows by the name of the filter that dropped them.
    """
    for name in (EMPTY, DEGENERATE, MISALIGNED, OVER_LONG, DUPLICATE):
        dropped.setdefault(name, 0)
    kept: list[VersePair] = []
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        sides = (pair.sanskrit, pair.english)
        reason = why_unfit(*sides) or (DUPLICATE if sides in seen else None)
        if reason:
            dropped[reason] += 1
        else:
            seen.add(sides)
            kept.append(pair)
    return kept


def _has_letter(text: str) -> bool:
    return any(character.isalpha() for character in text)
