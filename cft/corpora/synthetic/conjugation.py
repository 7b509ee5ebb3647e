"""Conjugation: present and imperfect of thematic verbs, with preverbs.

A verb is given by its present stem with the thematic vowel (gacCa-, nftya-, viSa-, kaTaya-: the
classes 1, 4, 6 and 10 have the same endings), its preverbs and its voice. Whitney, Sanskrit
Grammar, sections 733-752 and 1077-1087.
"""

from functools import cache

from cft.errors import CftError

from .script import VOWELS

TENSES = ("present", "imperfect")
VOICES = ("parasmaipada", "atmanepada")

# What follows the stem without its final a: singular, dual, plural of persons 3, 2, 1.
_ENDINGS = {
    ("present", "parasmaipada"): "ati ataH anti / asi aTaH aTa / Ami AvaH AmaH",
    ("imperfect", "parasmaipada"): "at atAm an / aH atam ata / am Ava Ama",
    ("present", "atmanepada"): "ate ete ante / ase eTe aDve / e Avahe Amahe",
    ("imperfect", "atmanepada"): "ata etAm anta / aTAH eTAm aDvam / e Avahi Amahi",
}
_PERSONS = (3, 2, 1)

# The augment and an initial vowel give vṛddhi, not guṇa (Panini 6.1.90).
_VRDDHI = {
    "a": "A", "A": "A", "i": "E", "I": "E", "e": "E", "E": "E",
    "u": "O", "U": "O", "o": "O", "O": "O", "f": "Ar",
}  # fmt: skip
_SIMPLE = {"a": "A", "i": "I", "u": "U"}
_GUNA = {"i": "e", "I": "e", "u": "o", "U": "o", "f": "ar"}
_GLIDE = {"i": "y", "u": "v"}
_VOICED = "gGjJqQdDbBnmyrlvh"
_UNVOICED = "kKcCwWtTpPSzs"


def augmented(stem: str) -> str:
    """The stem with the augment: a- before a consonant, vṛddhi of an initial vowel.

    ``C`` after the short augment is doubled to ``cC`` (Panini 6.1.73).
    """
    if stem[0] in VOWELS:
        return _VRDDHI[stem[0]] + stem[1:]
    return ("ac" if stem[0] == "C" else "a") + stem


def with_preverb(preverb: str, stem: str) -> str:
    """Join a preverb (SLP1: pra, A, vi, ud, nis, sam ...) and a verb form by internal sandhi.

    Raises CftError for a meeting of sounds that the rules here do not cover.
    """
    last, first = preverb[-1], stem[0]
    if last in VOWELS and first in VOWELS:
        if _SIMPLE.get(last, last).lower() == first.lower() and first in "aAiIuU":
            return preverb[:-1] + first.upper() + stem[1:]
        if last == "a" and first in "eo":  # pra and eṣayati give preṣayati (Panini 6.1.94)
            return preverb[:-1] + stem
        if last in "aA":
            return preverb[:-1] + (_GUNA.get(first) or _VRDDHI[first]) + stem[1:]
        return preverb[:-1] + _GLIDE[last] + stem
    if last in VOWELS:
        return preverb + ("c" if first == "C" else "") + stem
    if preverb == "ud":
        if first in VOWELS or first in "gGdDbByrv":
            return "ud" + stem
        if stem.startswith("sT"):  # the s of sthā is lost after ud (Panini 8.4.61)
            return "ut" + stem[1:]
        if first == "c":
            return "uc" + stem
        if first in "kKtTpPs":
            return "ut" + stem
        if first in "nm":
            return "un" + stem
        if first == "l":
            return "ul" + stem
    if preverb == "nis" and (first in VOWELS or first in _VOICED):
        return "nir" + stem
    if preverb == "sam":
        return "sam" + stem if first in VOWELS else "saM" + stem
    raise CftError(f"preverb {preverb!r} before {stem!r}: no rule; write the joined stem instead")


@cache
def _table(tense: str, voice: str) -> dict[tuple[int, str], str]:
    rows = [row.split() for row in _ENDINGS[tense, voice].split("/")]
    return {
        (person, number): ending
        for person, row in zip(_PERSONS, rows, strict=True)
        for number, ending in zip(("sg", "du", "pl"), row, strict=True)
    }


@cache
def conjugate(
    stem: str,
    preverbs: tuple[str, ...],
    voice: str,
    tense: str,
    person: int,
    number: str,
) -> str:
    """One form of a thematic verb in SLP1; the augment stands between preverbs and stem.

    ``stem`` is the present stem with its final a; ``preverbs`` stand in their spoken order
    (``("prati", "A")`` for pratyāgacchati).
    """
    if not stem.endswith("a"):
        raise CftError(f"verb {stem!r}: not a thematic stem; write it with its final a")
    form = stem[:-1] + _table(tense, voice)[person, number]
    if tense == "imperfect":
        form = augmented(form)
    for preverb in reversed(preverbs):
        form = with_preverb(preverb, form)
    return form
