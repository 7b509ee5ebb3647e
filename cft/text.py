"""What a text is: its normal form and its id.

Two texts are the same text when their normal forms are equal. The id is a digest of that form,
so it is the same in every corpus, store, cache and evaluation set, on every machine.

Two prints of one text differ in more than that: in verse numbers, dandas, case, invisible
characters. Whoever asks whether a model has seen a text compares wordings instead.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

import numpy as np

_DOUBLE_DANDA = re.compile("। ?।")
_DEVANAGARI = re.compile("[\u0900-\u097f]")
# A number that a print puts between or after dandas; one in a sentence is part of the text.
_VERSE_NUMBER = re.compile(r"(?:[।॥]|//) ?[0-9०-९][0-9०-९.,:–-]* ?(?:[।॥]|//|$)")


def normalise(text: str) -> str:
    """Normal form: Unicode NFC, single spaces, no outer space, dandas in one spelling.

    ``||`` and ``।।`` become ``॥``, ``|`` becomes ``।``, and no space stands before a danda.
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    if "|" in text or "।" in text or "॥" in text:  # English, half of every corpus, has none
        text = _DOUBLE_DANDA.sub("॥", text.replace("|", "।"))
        text = text.replace(" ।", "।").replace(" ॥", "॥")
    return text


def has_devanagari(text: str) -> bool:
    """Whether any letter is Devanagari: what tells a verse from its English."""
    return _DEVANAGARI.search(text) is not None


def text_id(text: str) -> int:
    """Signed 64-bit id of a text: BLAKE2b of its normal form.

    Among ten million distinct texts two ids collide with probability 3e-6; the store checks that
    none do.
    """
    return _digest(normalise(text))


def text_ids(texts: Iterable[str]) -> np.ndarray:
    """Ids of many texts, ``int64 [N]``."""
    return np.fromiter((text_id(text) for text in texts), dtype=np.int64)


def ids_of_normalised(texts: Iterable[str]) -> np.ndarray:
    """Ids of many texts that are in their normal form already, ``int64 [N]``."""
    return np.fromiter((_digest(text) for text in texts), dtype=np.int64)


def wording(text: str) -> str:
    """Letters, vowel signs and digits of a text, in one case: what every print of it has.

    Without verse numbers beside dandas, punctuation, spaces and invisible characters. A text that
    has nothing else is its own wording.
    """
    normal = normalise(text)
    return _VERSE_NUMBER.sub("", normal).casefold().translate(_KEPT) or normal


def wording_ids(texts: Iterable[str]) -> np.ndarray:
    """Ids of the wordings of many texts, ``int64 [N]``: never to be mixed with text ids."""
    return np.fromiter((_digest(wording(text)) for text in texts), dtype=np.int64)


class _Kept(dict[int, int | None]):
    """For ``str.translate``: characters that are letters, marks on letters or numbers."""

    def __missing__(self, code: int) -> int | None:
        self[code] = code if unicodedata.category(chr(code))[0] in "LMN" else None
        return self[code]


_KEPT = _Kept()


def _digest(normal: str) -> int:
    raw = hashlib.blake2b(normal.encode(), digest_size=8).digest()
    return int.from_bytes(raw, "little", signed=True)
