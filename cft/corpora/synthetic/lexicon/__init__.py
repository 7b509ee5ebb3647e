"""The words of the grammar: entries with their forms, and look-up by stem and by class.

The tables are plain text in the modules beside this one; a line that does not parse fails the
import with its text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from cft.corpora.synthetic import conjugation, declension, english
from cft.errors import CftError

from . import actions, doctrine, people, qualities, things

PLACE_PREPOSITIONS = ("in", "on", "at", "by")


# Entries are compared by identity: the tables hold each once.
@dataclass(frozen=True, eq=False)
class Noun:
    """A noun or a proper name; ``glosses`` are interchangeable in English."""

    stem: str
    gender: str  # m, n, f
    glosses: tuple[str, ...]
    classes: frozenset[str]

    def form(self, case: str, number: str) -> str:
        """One cell of the paradigm, SLP1."""
        return declension.decline(self.stem, self.gender, case, number)

    @property
    def preposition(self) -> str:
        """English preposition of the locative."""
        return next((word for word in PLACE_PREPOSITIONS if word in self.classes), "in")


@dataclass(frozen=True, eq=False)
class Adjective:
    """An adjective; ``classes`` are the classes of nouns that it can qualify."""

    stem: str
    glosses: tuple[str, ...]
    classes: frozenset[str]

    def glosses_for(self, noun: Noun) -> tuple[str, ...]:
        """English for this noun: a gloss marked ``m:`` replaces the rest for male persons."""
        male = tuple(gloss[2:] for gloss in self.glosses if gloss.startswith("m:"))
        if male and noun.gender == "m" and "person" in noun.classes:
            return male
        return tuple(gloss for gloss in self.glosses if not gloss.startswith("m:"))

    def form(self, gender: str, case: str, number: str) -> str:
        """The form that agrees with a noun of this gender, case and number, SLP1."""
        if "pron" in self.classes:
            return declension.decline_pronoun(self.stem, gender, case, number)
        stem = self.stem
        if gender == "f":
            stem = declension.feminine(stem, long_i="-I" in self.classes)
        return declension.decline(stem, gender, case, number)


@dataclass(frozen=True)
class Gloss:
    """An English verb: its three forms and the particle that follows (``of`` in think of)."""

    base: str
    past: str
    participle: str
    particle: str


@dataclass(frozen=True)
class Argument:
    """What a verb governs: a case, the classes that fill it, the English preposition."""

    case: str
    classes: frozenset[str]
    preposition: str  # "" for a direct object
    optional: bool
    saha: bool  # the postposition saha follows


@dataclass(frozen=True, eq=False)
class Verb:
    """A thematic verb with its government."""

    stem: str
    preverbs: tuple[str, ...]
    voice: str
    glosses: tuple[Gloss, ...]
    subjects: frozenset[str]
    arguments: tuple[Argument, ...]
    modifiers: frozenset[str]
    group: str

    def form(self, tense: str, person: int, number: str) -> str:
        """A finite form, SLP1."""
        return conjugation.conjugate(self.stem, self.preverbs, self.voice, tense, person, number)


@dataclass(frozen=True)
class Adverb:
    """An indeclinable; ``tense`` is the one that it demands, if any."""

    form: str
    glosses: tuple[str, ...]
    groups: frozenset[str]
    tense: str | None


@dataclass(frozen=True)
class Circumstance:
    """A noun in an oblique case that English renders by a set phrase (at dawn, with joy)."""

    noun: Noun
    case: str
    glosses: tuple[str, ...]
    group: str


def _lines(table: str) -> Iterator[str]:
    return (line for line in table.replace("\n    ", " ").split("\n") if line.strip())


def _glosses(text: str) -> tuple[str, ...]:
    return tuple(gloss.replace("_", " ") for gloss in text.split("|"))


def _noun(line: str) -> Noun:
    stem, gender, glosses, *classes = line.split()
    return Noun(stem, gender, _glosses(glosses), frozenset([*classes, stem]))


def _adjective(line: str) -> Adjective:
    stem, glosses, *classes = line.split()
    return Adjective(stem, _glosses(glosses), frozenset(classes))


def _adverb(line: str) -> Adverb:
    form, glosses, *groups = line.split()
    tense = next((group for group in groups if group in conjugation.TENSES), None)
    return Adverb(form, _glosses(glosses), frozenset(groups) - {tense}, tense)


def _gloss(text: str) -> Gloss:
    base, *rest = text.split()
    if not rest:
        return Gloss(base, english.past_of(base), english.past_of(base), "")
    if len(rest) == 1:
        return Gloss(base, rest[0], rest[0], "")
    return Gloss(base, rest[0], rest[1], " ".join(rest[2:]).replace("_", " "))


def _argument(text: str) -> Argument:
    case, classes, preposition = text.split()
    return Argument(
        case=case.rstrip("?").removesuffix("+saha"),
        classes=frozenset(classes.split(",")),
        preposition="" if preposition == "-" else preposition,
        optional=case.endswith("?"),
        saha="+saha" in case,
    )


def _verb(line: str, group: str) -> Verb:
    fields = [field.strip() for field in line.split(";")]
    if len(fields) != 5:
        raise CftError(f"verb table, {line!r}: {len(fields)} columns; write 5 separated by ';'")
    form, glosses, subjects, arguments, modifiers = fields
    stem, preverbs, voice = form.split()
    return Verb(
        stem=stem,
        preverbs=() if preverbs == "-" else tuple(preverbs.split("_")),
        voice={"P": "parasmaipada", "A": "atmanepada"}[voice],
        glosses=tuple(_gloss(gloss) for gloss in glosses.split("/")),
        subjects=frozenset(subjects.split()),
        # A comma followed by a space separates arguments; inside one it separates classes.
        arguments=tuple(_argument(text) for text in arguments.split(", ") if text),
        modifiers=frozenset(modifiers.split()),
        group=group,
    )


NOUNS: tuple[Noun, ...] = tuple(
    _noun(line)
    for table in (
        people.PEOPLE,
        people.ANIMALS,
        people.NAMES,
        things.PLACES,
        things.THINGS,
        doctrine.NOUNS,
    )
    for line in _lines(table)
)
ADJECTIVES: tuple[Adjective, ...] = tuple(map(_adjective, _lines(qualities.ADJECTIVES)))
ADVERBS: tuple[Adverb, ...] = tuple(map(_adverb, _lines(qualities.ADVERBS)))
VERBS: tuple[Verb, ...] = tuple(
    _verb(line, group)
    for group in ("MOTION", "SPEECH", "CARE", "HARM", "STATES")
    for line in _lines(getattr(actions, group))
)
DOCTRINE_VERBS: tuple[Verb, ...] = tuple(_verb(line, "DOCTRINE") for line in _lines(doctrine.VERBS))
_BY_STEM = {noun.stem: noun for noun in NOUNS}


def noun(stem: str) -> Noun:
    """The noun of this stem; CftError when the lexicon lacks it."""
    if stem not in _BY_STEM:
        raise CftError(f"noun {stem!r}: not in the lexicon; add it to the tables")
    return _BY_STEM[stem]


def _circumstance(line: str) -> Circumstance:
    stem, case, glosses, group = line.split()
    return Circumstance(noun(stem), case, _glosses(glosses), group)


CIRCUMSTANCES: tuple[Circumstance, ...] = tuple(map(_circumstance, _lines(qualities.CIRCUMSTANCES)))


@cache
def nouns_of(classes: frozenset[str]) -> tuple[Noun, ...]:
    """Nouns of narrative of any of these classes, in the order of the tables."""
    shared = frozenset({"idea", "attainment"})
    return tuple(
        noun
        for noun in NOUNS
        if noun.classes & (classes & shared if "doctrine" in noun.classes else classes)
    )


@cache
def adjectives_for(noun: Noun) -> tuple[Adjective, ...]:
    """Adjectives that can qualify this noun, in the order of the tables."""
    barred = frozenset("!" + name for name in noun.classes)
    return tuple(
        word for word in ADJECTIVES if word.classes & noun.classes and not word.classes & barred
    )


@cache
def adverbs_of(groups: frozenset[str]) -> tuple[Adverb | Circumstance, ...]:
    """Adverbs and circumstances of any of these groups."""
    simple = tuple(word for word in ADVERBS if word.groups & groups)
    return (*simple, *(word for word in CIRCUMSTANCES if word.group in groups))
