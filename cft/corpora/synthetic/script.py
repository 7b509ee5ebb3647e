"""SLP1 transliteration to Devanagari.

The grammar works on SLP1, the encoding of Sanskrit with one ASCII letter a phoneme (Scharf and
Hyman, "Linguistic Issues in Encoding Sanskrit", 2011), where a sound rule is an operation on
characters. Devanagari is only the last step.
"""

from functools import cache

from cft.errors import CftError

# vowel -> (letter at the start of a syllable, sign after a consonant); short a has no sign.
_VOWELS = {
    "a": ("अ", ""),
    "A": ("आ", "ा"),
    "i": ("इ", "ि"),
    "I": ("ई", "ी"),
    "u": ("उ", "ु"),
    "U": ("ऊ", "ू"),
    "f": ("ऋ", "ृ"),
    "F": ("ॠ", "ॄ"),
    "x": ("ऌ", "ॢ"),
    "X": ("ॡ", "ॣ"),
    "e": ("ए", "े"),
    "E": ("ऐ", "ै"),
    "o": ("ओ", "ो"),
    "O": ("औ", "ौ"),
}
_CONSONANTS = dict(
    zip(
        "kKgGNcCjJYwWqQRtTdDnpPbBmyrlvSzsh",
        "कखगघङचछजझञटठडढणतथदधनपफबभमयरलवशषसह",
        strict=True,
    )
)
# anusvara, visarga, candrabindu and avagraha, and what passes through untouched
_SIGNS = {"M": "ं", "H": "ः", "~": "ँ", "'": "ऽ", " ": " ", "।": "।", "॥": "॥"}
_VIRAMA = "्"

VOWELS = frozenset(_VOWELS)
CONSONANTS = frozenset(_CONSONANTS)


@cache
def to_devanagari(slp1: str) -> str:
    """Write an SLP1 text in Devanagari: conjuncts by virama, a final consonant with virama.

    Raises CftError on a letter that SLP1 does not have or a sign that cannot stand where it is.
    """
    written: list[str] = []
    bare = False  # the last letter is a consonant that has no vowel yet
    for at, letter in enumerate(slp1):
        if letter in _VOWELS:
            initial, sign = _VOWELS[letter]
            written.append(sign if bare else initial)
            bare = False
            continue
        if letter in _CONSONANTS:
            if bare:
                written.append(_VIRAMA)
            written.append(_CONSONANTS[letter])
            bare = True
            continue
        if letter not in _SIGNS:
            raise CftError(
                f"SLP1 text {slp1!r}, character {at}: {letter!r} is not SLP1; "
                "write one ASCII letter a phoneme"
            )
        if letter in "MH~" and (at == 0 or slp1[at - 1] not in VOWELS):
            raise CftError(
                f"SLP1 text {slp1!r}, character {at}: {letter!r} must follow a vowel; mend the word"
            )
        if bare:
            written.append(_VIRAMA)
        written.append(_SIGNS[letter])
        bare = False
    if bare:
        written.append(_VIRAMA)
    return "".join(written)
