"""Inflection of the English glosses: plurals, verb forms, articles and possessives."""

_PLURALS = {
    "man": "men",
    "woman": "women",
    "wife": "wives",
    "thief": "thieves",
    "wolf": "wolves",
    "deer": "deer",
    "fish": "fish",
    "foot": "feet",
    "leaf": "leaves",
    "hero": "heroes",
    "mango": "mangoes",
    "lotus": "lotuses",
    "discus": "discuses",
}
_VOWELS = "aeiou"


def plural(noun: str) -> str:
    """Plural of a noun or of a phrase that ends in its noun (young woman, fig tree)."""
    *before, last = noun.split(" ")
    if last in _PLURALS:
        last = _PLURALS[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2] not in _VOWELS:
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " ".join([*before, last])


def possessive(phrase: str) -> str:
    """The king's, the kings', Vyasa's."""
    return phrase + ("'" if phrase.endswith("s") else "'s")


def article(phrase: str) -> str:
    """``phrase`` with a or an by its first sound; of the glosses only "one" begins like w."""
    return ("an " if phrase[0] in _VOWELS and not phrase.startswith("one") else "a ") + phrase


def past_of(base: str) -> str:
    """Regular past tense and participle (carry, carried; invite, invited; beg, begged)."""
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in _VOWELS:
        return base[:-1] + "ied"
    if _doubles(base):
        return base + base[-1] + "ed"
    return base + "ed"


def third_person(base: str) -> str:
    """Third person singular of the present tense."""
    if base == "be":
        return "is"
    if base == "go":
        return "goes"
    return plural(base) if base not in _PLURALS else base + "s"


def _doubles(base: str) -> bool:
    """One stressed syllable that ends in a single vowel and a single consonant."""
    vowels = [at for at, letter in enumerate(base) if letter in _VOWELS]
    return len(vowels) == 1 and vowels[0] == len(base) - 2 and base[-1] not in "wxy"
