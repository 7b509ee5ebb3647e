"""Sentence patterns: how one or two clauses make a verse."""

from collections.abc import Callable
from random import Random

from .clauses import Clause
from .lexicon import VERBS, Noun
from .narration import Narrator
from .phrases import NounPhrase, Phrase, Pronoun, Speaker, Word
from .verse import Verse, enclitic, flat, halves, particle, sentence

_SAY = next(verb for verb in VERBS if verb.stem == "vada")
# What one does for a reason: the second clause of "for he loves his son".
_REASONS = {"snihya", "smara", "Soca", "icCa", "kruDya", "Ikza", "izya", "saha", "rakza", "tuzya"}
# Habits go with verses of one clause; a second clause shares the time of the first.
_ANY_TIME = frozenset({"time", "habit"})
_NO_TIME: frozenset[str] = frozenset()
_TOLD = ("said to", "said to", "spoke thus to")


def single(narrator: Narrator, tense: str) -> Verse | None:
    """One clause with its circumstances, the danda between two constituents."""
    count = narrator.rng.choice((1, 2, 2, 3))
    clause = narrator.clause(tense, modifiers=count, times=_ANY_TIME)
    if clause is None:
        return None
    constituents = clause.sanskrit(narrator.rng)
    if len(constituents) < 2:
        return None
    first, second = halves(constituents)
    english = sentence(clause.english(narrator.rng))
    return Verse(tuple(first), tuple(second), english, (clause,))


def sequence(narrator: Narrator, tense: str) -> Verse | None:
    """Somebody does this, then the same does that (tataḥ saḥ ...)."""
    rng = narrator.rng
    one = narrator.clause(tense)
    if one is None or not isinstance(one.subject, NounPhrase) or not _animate(one.subject):
        return None
    two = narrator.clause(
        tense,
        subject=Pronoun(one.subject),
        avoid=_other_nouns(one),
        modifiers=rng.choice((0, 1)),
        times=_NO_TIME,
    )
    if two is None or two.verb is one.verb:
        return None
    link, openings = rng.choice(
        (
            ("tataH", ("; then ", ", and then ")),
            ("tadA", ("; then ", ", and then ")),
            ("aTa", ("; after that ", ", and after that ")),
            ("ca", (", and ",)),
        )
    )
    constituents = two.sanskrit(rng)
    second = enclitic(constituents, "ca") if link == "ca" else [particle(link), *flat(constituents)]
    if link == "ca" and two.subject.sanskrit("nom")[0] != second[0] and rng.random() < 0.5:
        second = enclitic([two.subject.sanskrit("nom"), *_without_subject(two, rng)], "ca")
    english = one.english(rng, passive_rate=0) + rng.choice(openings)
    english += two.english(rng, passive_rate=0, fronted=False)
    return Verse(tuple(flat(one.sanskrit(rng))), tuple(second), sentence(english), (one, two))


def contrast(narrator: Narrator, tense: str) -> Verse | None:
    """Two actors: the one does this, and (but) the other does that."""
    rng = narrator.rng
    one, two = _two(narrator, tense)
    if one is None or two is None:
        return None
    form, opening = rng.choice((("ca", ", and "), ("tu", ", but "), ("ca", ", while ")))
    english = one.english(rng) + opening + two.english(rng, fronted=False)
    second = enclitic(two.sanskrit(rng), form)
    return Verse(tuple(flat(one.sanskrit(rng))), tuple(second), sentence(english), (one, two))


def when(narrator: Narrator, tense: str) -> Verse | None:
    """yadā ... tadā: when this happened, that happened."""
    rng = narrator.rng
    one, two = _two(narrator, tense)
    if one is None or two is None:
        return None
    first = [particle("yadA"), *flat(one.sanskrit(rng))]
    second = [particle("tadA"), *flat(two.sanskrit(rng))]
    condition = "when " + one.english(rng, fronted=False)
    result = two.english(rng, fronted=False)
    english = f"{condition}, {result}" if rng.random() < 0.6 else f"{result} {condition}"
    return Verse(tuple(first), tuple(second), sentence(english), (one, two))


def because(narrator: Narrator, tense: str) -> Verse | None:
    """hi: somebody does this, for he loves (remembers, wants ...) that."""
    rng = narrator.rng
    one = narrator.clause(tense)
    if one is None or not isinstance(one.subject, NounPhrase):
        return None
    reasons = [
        verb
        for verb in VERBS
        if verb.stem in _REASONS and all(n.classes & verb.subjects for n in one.subject.nouns)
    ]
    if not reasons:
        return None
    two = narrator.clause(
        tense, rng.choice(reasons), Pronoun(one.subject), _other_nouns(one), modifiers=0
    )
    if two is None or two.verb is one.verb:
        return None
    english = one.english(rng, passive_rate=0) + rng.choice((", for ", " because "))
    english += two.english(rng, passive_rate=0)
    second = enclitic(two.sanskrit(rng), "hi")
    return Verse(tuple(flat(one.sanskrit(rng))), tuple(second), sentence(english), (one, two))


def towards(narrator: Narrator, tense: str) -> Verse | None:
    """One does something; another does something to him (tam)."""
    rng = narrator.rng
    one = narrator.clause(tense)
    if one is None or not isinstance(one.subject, NounPhrase) or "person" not in _classes(one):
        return None
    two = narrator.clause(
        tense,
        avoid=one.subject.nouns | _other_nouns(one),
        patient=Pronoun(one.subject),
        times=_NO_TIME,
    )
    if two is None or not any(isinstance(f.phrase, Pronoun) for f in two.arguments):
        return None
    link, opening = rng.choice((("tadA", "; then "), ("tataH", ", and then "), ("ca", ", and ")))
    constituents = two.sanskrit(rng)
    second = enclitic(constituents, "ca") if link == "ca" else [particle(link), *flat(constituents)]
    english = one.english(rng) + opening + two.english(rng, fronted=False)
    return Verse(tuple(flat(one.sanskrit(rng))), tuple(second), sentence(english), (one, two))


def relative(narrator: Narrator, tense: str) -> Verse | None:
    """yaḥ ... saḥ: he who does this does that."""
    rng = narrator.rng
    one = narrator.clause(tense)
    if one is None or not isinstance(one.subject, NounPhrase) or not _animate(one.subject):
        return None
    subject = one.subject
    if subject.partner or "name" in subject.noun.classes or subject.possessor:
        return None
    two = narrator.clause(
        tense,
        subject=Pronoun(subject),
        avoid=_other_nouns(one),
        modifiers=rng.choice((0, 1)),
        times=_NO_TIME,
    )
    if two is None or two.verb is one.verb:
        return None
    first = [*Pronoun(subject, "ya").sanskrit("nom"), *flat(one.sanskrit(rng))]
    pronoun = "who" if "person" in subject.noun.classes else "that"
    english = f"{subject.english()} {pronoun} {one.predicate(rng)} {two.predicate(rng)}"
    second = [*two.subject.sanskrit("nom"), *flat(_without_subject(two, rng))]
    return Verse(tuple(first), tuple(second), sentence(english), (one, two))


def speech(narrator: Narrator, tense: str) -> Verse | None:
    """Direct speech with iti, about oneself or to the hearer."""
    rng = narrator.rng
    frame = narrator.clause("imperfect", _SAY, modifiers=0)
    if frame is None or not isinstance(frame.subject, NounPhrase):
        return None
    hearer = frame.arguments[0].phrase
    person = rng.choice((1, 1, 2))
    agreement = (frame.subject if person == 1 else hearer).agreement
    speaker = Speaker(person, agreement, spoken=rng.random() < 0.75)
    doers = frame.subject.nouns if person == 1 else hearer.nouns
    said = narrator.clause(
        "present",
        narrator.verb_for(doers),
        speaker,
        frame.subject.nouns | hearer.nouns,
        modifiers=rng.choice((0, 1)),
    )
    if said is None:
        return None
    first = [*flat(said.sanskrit(rng)), particle("iti")]
    quoted = said.english(rng, passive_rate=0, fronted=False)
    to, whom = frame.subject.english(), hearer.english(subject=False)
    if frame.negated:
        english = f"{to} did not say to {whom}: {quoted[0].upper()}{quoted[1:]}"
    elif rng.random() < 0.5:
        english = f"{to} {rng.choice(_TOLD)} {whom}: {quoted[0].upper()}{quoted[1:]}"
    else:
        english = f"{quoted}, said {to} to {whom}"
    second = flat(frame.sanskrit(rng))
    return Verse(tuple(first), tuple(second), sentence(english), (said, frame))


PATTERNS: tuple[tuple[Callable[[Narrator, str], Verse | None], int], ...] = (
    (single, 32),
    (sequence, 20),
    (contrast, 12),
    (when, 10),
    (because, 5),
    (towards, 8),
    (relative, 6),
    (speech, 7),
)


def _two(narrator: Narrator, tense: str) -> tuple[Clause | None, Clause | None]:
    """Two clauses without a noun in common."""
    one = narrator.clause(tense, modifiers=narrator.rng.choice((0, 1)))
    if one is None:
        return None, None
    two = narrator.clause(
        tense,
        avoid=one.subject.nouns | _other_nouns(one),
        modifiers=narrator.rng.choice((0, 1)),
        times=_NO_TIME,
    )
    return (one, two) if two is None or two.verb is not one.verb else (one, None)


def _other_nouns(clause: Clause) -> frozenset[Noun]:
    phrases: list[Phrase] = [filled.phrase for filled in clause.arguments]
    phrases += [modifier.phrase for modifier in clause.modifiers if modifier.phrase]
    return frozenset().union(*(phrase.nouns for phrase in phrases))


def _classes(clause: Clause) -> frozenset[str]:
    return frozenset().union(*(noun.classes for noun in clause.subject.nouns))


def _animate(phrase: NounPhrase) -> bool:
    return bool(phrase.noun.classes & {"person", "animal"})


def _without_subject(clause: Clause, rng: Random) -> list[list[Word]]:
    nominative = clause.subject.sanskrit("nom")
    return [words for words in clause.sanskrit(rng) if words != nominative]
