"""Contemplative verses: a meaning is a choice of concepts, and a verse one way to say it.

How close two meanings are is known by construction. With the weights w below,

    score(x, y) = 5 * sum over slots s of w_s * near(x_s, y_s)

where near is 1 for the same concept, 0.4 for two concepts of one field, 0 otherwise. A verse and
a paraphrase of it (other synonyms, another sentence pattern) have 5; verses that share nothing
have 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random

from .clauses import Clause, Filled, Modifier
from .english import third_person
from .lexicon import ADJECTIVES, DOCTRINE_VERBS, Argument, Noun, Verb, doctrine, noun
from .phrases import NounPhrase, Pronoun
from .verse import Verse, enclitic, flat, particle, sentence

WEIGHTS = {"focus": 0.3, "act": 0.2, "place": 0.15, "manner": 0.1, "fruit": 0.2, "agent": 0.05}
SAME_FIELD = 0.4
_OBJECT = Argument("acc", frozenset(), "", optional=False, saha=False)

# What one does not do, or not with sense.
_BARRED_FOCUS = {
    "worship": {"breath", "body", "sight", "mind", "desire", "sleep", "time", "water", "love"},
    "enter": {"breath", "body", "sight", "desire", "sun", "moon", "mantra", "knowledge", "time"},
    "release": {"light", "sun", "moon", "space", "truth", "awareness", "heart", "fire", "bliss"},
    "hold": {"sun", "moon", "void", "space", "time", "desire", "sleep"},
    "seek": {"body", "sight", "breath", "time", "sleep", "desire"},
}
_INSIDE = {("place", name) for name in ("heart", "throat", "navel", "head", "brow")}
_BARRED_PAIRS = {
    ("focus", "heart"): _INSIDE,
    ("focus", "body"): _INSIDE,
    ("focus", "sight"): _INSIDE,
    ("focus", "water"): _INSIDE,
    ("act", "release"): {*_INSIDE, ("manner", "affection")},
    ("focus", "mind"): {("manner", "calm"), ("manner", "focus")},
    ("fruit", "bliss"): {("focus", "bliss")},
    ("fruit", "truth"): {("focus", "truth")},
    ("fruit", "insight"): {("focus", "knowledge"), ("manner", "insight")},
    ("place", "night"): {("focus", "sun")},
}


@dataclass(frozen=True)
class Concept:
    """One value of a slot, with its synonyms."""

    slot: str
    name: str
    field: str
    variants: tuple[str, ...]


@cache
def concepts(slot: str) -> tuple[Concept, ...]:
    """The concepts of a slot, in the order of the table."""
    rows = (line.split() for line in doctrine.CONCEPTS.split("\n") if line)
    return tuple(
        Concept(kind, name, field, tuple(variants))
        for kind, name, field, *variants in rows
        if kind == slot
    )


Meaning = Mapping[str, Concept]  # slot -> concept


def score(one: Meaning, other: Meaning) -> float:
    """Similarity of two meanings from 0 to 5, to two decimals."""
    total = 0.0
    for slot, weight in WEIGHTS.items():
        a, b = one[slot], other[slot]
        total += weight * (1.0 if a.name == b.name else SAME_FIELD if a.field == b.field else 0.0)
    return round(5 * total, 2)


def sensible(meaning: Meaning) -> bool:
    """Whether the concepts go together."""
    if meaning["focus"].name in _BARRED_FOCUS.get(meaning["act"].name, ()):
        return False
    chosen = {(slot, concept.name) for slot, concept in meaning.items()}
    return not any(key in chosen and chosen & barred for key, barred in _BARRED_PAIRS.items())


def draw_meaning(rng: Random, focus: Concept) -> dict[str, Concept]:
    """A sensible meaning about ``focus``."""
    while True:
        meaning = {slot: rng.choice(concepts(slot)) for slot in WEIGHTS} | {"focus": focus}
        if sensible(meaning):
            return meaning


def vary(rng: Random, meaning: Meaning, slots: tuple[str, ...]) -> dict[str, Concept]:
    """The meaning with other concepts in the given slots."""
    while True:
        other = dict(meaning)
        for slot in slots:
            other[slot] = rng.choice([c for c in concepts(slot) if c != meaning[slot]])
        if sensible(other):
            return other


def express(rng: Random, meaning: Meaning, pattern: str, wording: int) -> Verse:
    """Say a meaning as a verse.

    ``pattern`` is one of PATTERNS; an even ``wording`` takes the first synonyms, an odd one the
    second where there are two, so that two parities share few words.
    """
    chosen = {
        slot: concept.variants[wording % len(concept.variants)] for slot, concept in meaning.items()
    }
    act, fruit_verb = _verb(chosen["act"]), _verb(chosen["fruit"].split(":")[0])
    agent = _phrase(rng, chosen["agent"])
    practice = Clause(
        verb=act,
        gloss=rng.choice(act.glosses),
        tense="present",
        subject=agent,
        arguments=(Filled(_OBJECT, _phrase(rng, chosen["focus"])),),
        modifiers=(_place(rng, chosen["place"]), _manner(rng, chosen["manner"])),
    )
    fruit = Clause(
        verb=fruit_verb,
        gloss=rng.choice(fruit_verb.glosses),
        tense="present",
        subject=Pronoun(agent),
        arguments=(Filled(_OBJECT, _phrase(rng, chosen["fruit"].split(":")[1])),),
    )
    first, second = practice.sanskrit(rng), fruit.sanskrit(rng)
    if pattern == "relative":
        words = [Pronoun(agent, "ya").sanskrit("nom"), *first]
        after = flat(second)
        english = f"{agent.english()} who {practice.predicate(rng)} {fruit.predicate(rng)}"
    elif pattern == "when":
        words, after = [[particle("yadA")], *first], [particle("tadA"), *flat(second)]
        clauses = practice.english(rng, 0), fruit.english(rng, 0)
        english = "when {}, {}".format(*clauses)
        if rng.random() < 0.4:
            gained = fruit.predicate(rng)
            english = f"{agent.english()} {gained} when he {practice.predicate(rng)}"
    elif pattern == "then":
        words, after = first, [particle("tataH"), *flat(second)]
        opening = rng.choice(("; then ", ", and then "))
        english = practice.english(rng, 0) + opening + fruit.english(rng, 0)
    else:
        words, after = first, enclitic(second, "ca")
        english = f"{practice.english(rng, 0)} and {fruit.predicate(rng)}"
    return Verse(tuple(flat(words)), tuple(after), sentence(english), (practice, fruit))


PATTERNS = ("relative", "when", "then", "and")


def gerund(focus: Concept, act: Concept) -> str:
    """The practice as a search query: how one contemplates the breath."""
    verb = _verb(act.variants[0]).glosses[0]
    entry = noun(focus.variants[0])
    what = NounPhrase(entry, "sg", entry.glosses[0], _determiner(entry)).english()
    return sentence(f"how one {third_person(verb.base)} {verb.particle} {what}")


def _verb(name: str) -> Verb:
    stem, _, preverb = name.partition("+")
    fitting = [verb for verb in DOCTRINE_VERBS if verb.stem == stem]
    return next(
        (verb for verb in fitting if verb.preverbs == ((preverb,) if preverb else ())), fitting[0]
    )


def _determiner(entry: Noun) -> str:
    return "" if "bare" in entry.classes or "mass" in entry.classes else "the"


def _phrase(rng: Random, name: str) -> NounPhrase:
    quality, _, stem = name.rpartition("+")
    entry = noun(stem)
    adjective = next((word for word in ADJECTIVES if word.stem == quality), None)
    gloss = rng.choice(adjective.glosses) if adjective else ""
    determiner = "a" if adjective else _determiner(entry)
    return NounPhrase(entry, "sg", rng.choice(entry.glosses), determiner, adjective, gloss)


def _place(rng: Random, name: str) -> Modifier:
    phrase = _phrase(rng, name)
    preposition = phrase.noun.preposition
    if "hour" in phrase.noun.classes:
        preposition = "at"
    english = f"{preposition} {phrase.english()}".replace("at the night", "at night")
    return Modifier(tuple(phrase.sanskrit("loc")), english, "phrase", phrase)


def _manner(rng: Random, name: str) -> Modifier:
    phrase = _phrase(rng, name)
    english = f"with {phrase.english()}"
    return Modifier(tuple(phrase.sanskrit("ins")), english, "manner", phrase)
