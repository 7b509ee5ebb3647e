"""Syllables of Devanagari verse and their weights: a check of spelling that knows no words."""

LONG, SHORT = 2, 1

_SIGNS = {"ा": 2, "ि": 1, "ी": 2, "ु": 1, "ू": 2, "ृ": 1, "ॄ": 2, "े": 2, "ै": 2, "ो": 2, "ौ": 2}
_VOWELS = {"अ": 1, "आ": 2, "इ": 1, "ई": 2, "उ": 1, "ऊ": 2, "ऋ": 1, "ए": 2, "ऐ": 2, "ओ": 2, "औ": 2}
_VIRAMA = "्"


def weights(line: str) -> list[int]:
    """Weight of each syllable of a line: 2 long, 1 short.

    A syllable is long by a long vowel, by anusvāra or visarga, or by two consonants after its
    vowel, whatever word they belong to. Spaces and avagrahas sound not at all.
    """
    text = line.replace(" ", "").replace("ऽ", "")
    found: list[int] = []
    cluster = 0  # consonants since the last vowel
    for place, sign in enumerate(text):
        after = text[place + 1 : place + 2]
        if "क" <= sign <= "ह":
            cluster += 1
            if after == _VIRAMA or after in _SIGNS:
                continue  # no vowel, or one that its own sign adds
            weight = SHORT
        elif sign in _SIGNS:
            weight = _SIGNS[sign]
        elif sign in _VOWELS:
            weight = _VOWELS[sign]
        elif sign in "ंः":
            found[-1] = LONG
            continue
        elif sign in (_VIRAMA, "ँ"):
            continue
        else:
            raise ValueError(f"{line}: {sign!r} is no sound")
        if cluster > 1 and found:
            found[-1] = LONG
        found.append(weight)
        cluster = 0
    if cluster and found:
        found[-1] = LONG
    return found


def scan(line: str) -> str:
    """Weights as a picture: ``-`` long, ``.`` short."""
    return "".join("-" if weight == LONG else "." for weight in weights(line))
