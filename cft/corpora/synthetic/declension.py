"""Declension: nouns, adjectives and pronouns in eight cases and three numbers.

Forms are pause forms in SLP1 (see `script`), as in the paradigm tables of the school grammars
(Whitney, Sanskrit Grammar, sections 329-372 and 495-498). Where the language allows two forms
(matyai or mataye) the table holds the first only, so that every cell is one word.
"""

from functools import cache

from cft.errors import CftError

CASES = ("nom", "acc", "ins", "dat", "abl", "gen", "loc", "voc")
NUMBERS = ("sg", "du", "pl")

# One line a case in the order of CASES: singular, dual, plural, each what follows the stem
# without its final vowel.
_ENDINGS = {
    "a m": """
        aH O AH
        am O An
        ena AByAm EH
        Aya AByAm eByaH
        At AByAm eByaH
        asya ayoH AnAm
        e ayoH ezu
        a O AH""",
    "a n": """
        am e Ani
        am e Ani
        ena AByAm EH
        Aya AByAm eByaH
        At AByAm eByaH
        asya ayoH AnAm
        e ayoH ezu
        a e Ani""",
    "A f": """
        A e AH
        Am e AH
        ayA AByAm ABiH
        AyE AByAm AByaH
        AyAH AByAm AByaH
        AyAH ayoH AnAm
        AyAm ayoH Asu
        e e AH""",
    "i m": """
        iH I ayaH
        im I In
        inA iByAm iBiH
        aye iByAm iByaH
        eH iByAm iByaH
        eH yoH InAm
        O yoH izu
        e I ayaH""",
    "i f": """
        iH I ayaH
        im I IH
        yA iByAm iBiH
        yE iByAm iByaH
        yAH iByAm iByaH
        yAH yoH InAm
        yAm yoH izu
        e I ayaH""",
    "I f": """
        I yO yaH
        Im yO IH
        yA IByAm IBiH
        yE IByAm IByaH
        yAH IByAm IByaH
        yAH yoH InAm
        yAm yoH Izu
        i yO yaH""",
    "u m": """
        uH U avaH
        um U Un
        unA uByAm uBiH
        ave uByAm uByaH
        oH uByAm uByaH
        oH voH UnAm
        O voH uzu
        o U avaH""",
}
# Pronominal declension of a-stems (tad, sarva, ya ...), where it differs from "a m", "a n", "A f";
# pronouns of this kind have no vocative.
_PRONOMINAL = {
    ("m", "dat", "sg"): "asmE",
    ("m", "abl", "sg"): "asmAt",
    ("m", "loc", "sg"): "asmin",
    ("m", "nom", "pl"): "e",
    ("m", "gen", "pl"): "ezAm",
    ("f", "dat", "sg"): "asyE",
    ("f", "abl", "sg"): "asyAH",
    ("f", "gen", "sg"): "asyAH",
    ("f", "loc", "sg"): "asyAm",
    ("f", "gen", "pl"): "AsAm",
}
# The demonstrative's own nominatives: sa, sā, tad beside the stem ta-.
_TAD = {("m", "nom", "sg"): "saH", ("f", "nom", "sg"): "sA"} | {
    ("n", case, "sg"): "tat" for case in ("nom", "acc")
}


def retroflex(stem: str, ending: str) -> str:
    """Join stem and ending, with n of the ending made retroflex where the stem demands it.

    Panini 8.4.1-2: n becomes ṇ after r, ṣ, ṛ or ṝ of the same word when only vowels, gutturals,
    labials, y, v, h and anusvara stand between, and a vowel, n, m, y or v follows (so rāmeṇa, but
    janena, rathena, and never a final n: rāmān).
    """
    word = list(stem + ending)
    for at in range(len(stem), len(word) - 1):
        if word[at] != "n" or word[at + 1] not in "aAiIuUfFxeEoOnmyv":
            continue
        for before in reversed(word[:at]):
            if before in "rzfF":
                word[at] = "R"
                break
            if before not in "aAiIuUeEoOxkKgGNpPbBmyvhM":
                break
    return "".join(word)


@cache
def _table(kind: str) -> dict[tuple[str, str], str]:
    rows = [line.split() for line in _ENDINGS[kind].split("\n") if line.strip()]
    return {
        (case, number): ending
        for case, row in zip(CASES, rows, strict=True)
        for number, ending in zip(NUMBERS, row, strict=True)
    }


@cache
def decline(stem: str, gender: str, case: str, number: str) -> str:
    """One form of the noun ``stem`` (SLP1, with its final vowel) of gender m, n or f.

    Raises CftError for a class of stems that the grammar does not decline.
    """
    kind = f"{stem[-1]} {gender}"
    if kind not in _ENDINGS:
        raise CftError(f"noun {stem!r}: no paradigm for {kind!r}; one of {sorted(_ENDINGS)}")
    return retroflex(stem[:-1], _table(kind)[case, number])


@cache
def decline_pronoun(stem: str, gender: str, case: str, number: str) -> str:
    """One form of ta- (he, she, that), ya- (who) or sarva- (all), which have endings of their own.

    Raises CftError for the vocative.
    """
    if case == "voc":
        raise CftError(f"pronoun {stem!r}: it has no vocative; choose another case")
    if stem == "ta" and (gender, case, number) in _TAD:
        return _TAD[gender, case, number]
    if stem == "ya" and gender == "n" and number == "sg" and case in ("nom", "acc"):
        return "yat"
    # Outside nominative and accusative the neuter declines like the masculine.
    like = "m" if gender == "n" and case not in ("nom", "acc") else gender
    regular = _table({"m": "a m", "n": "a n", "f": "A f"}[gender])[case, number]
    return retroflex(stem[:-1], _PRONOMINAL.get((like, case, number), regular))


def feminine(stem: str, long_i: bool = False) -> str:
    """Feminine stem of an a-stem adjective: -ā, or -ī for those that form it so (sundarī)."""
    return stem[:-1] + ("I" if long_i else "A")
