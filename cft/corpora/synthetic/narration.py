"""Draws clauses for a chapter: verbs, actors and objects that go together."""

from collections.abc import Set
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from random import Random

from .clauses import Clause, Filled, Modifier, adverbial
from .lexicon import (
    VERBS,
    Adverb,
    Argument,
    Noun,
    Verb,
    adverbs_of,
    noun,
    nouns_of,
)
from .phrases import NounPhrase, Phrase, Word, make_phrase
from .scenes import FAMILIES, Scene

_NAME = frozenset({"name"})
_PERSON = frozenset({"person"})
_IDEAS = frozenset({"idea", "attainment"})
# Scenes whose people think of the things that the contemplative verses speak about.
_CONTEMPLATIVE = frozenset({"sacrifice", "school", "penance", "exile", "healing"})
_DRY = frozenset({"dry"})
# Share of arguments taken from the whole lexicon although the chapter has a fitting noun.
_STRANGER_RATE = 0.08


@dataclass(frozen=True)
class Cast:
    """What a chapter tells about: its protagonists first, then roles, animals, places, things."""

    scene: Scene
    family: str
    leads: tuple[Noun, ...]
    nouns: tuple[Noun, ...]

    @property
    def places(self) -> tuple[Noun, ...]:
        """The chapter's places."""
        return tuple(entry for entry in self.nouns if "place" in entry.classes)

    def of(self, classes: frozenset[str]) -> list[Noun]:
        """The cast's nouns of any of these classes."""
        return [entry for entry in self.nouns if entry.classes & classes]


def draw_cast(rng: Random, scene: Scene) -> Cast:
    """A chapter's cast: two protagonists of one cycle of legends, and a part of the scene."""
    family = rng.choice(FAMILIES)
    leads = tuple(rng.sample(nouns_of(frozenset({family})), 2))
    parts = [
        rng.sample(stems, min(count, len(stems)))
        for stems, count in (
            (scene.roles, 3),
            (scene.animals, 2),
            (scene.places, 4),
            (scene.things, 8),
        )
    ]
    if scene.name in _CONTEMPLATIVE:
        parts.append([entry.stem for entry in rng.sample(nouns_of(_IDEAS), 6)])
    nouns = (*leads, *(noun(stem) for part in parts for stem in part))
    return Cast(scene, family, leads, nouns)


@cache
def _weights(scene: Scene) -> tuple[int, ...]:
    weights = []
    for verb in VERBS:
        ideas = any(argument.classes & _IDEAS for argument in verb.arguments)
        # What things do (rivers flow, lamps blaze) would be rare: most casts lack the thing.
        things = not any("person" in entry.classes for entry in nouns_of(verb.subjects))
        weights.append(
            1
            + 5 * (verb.stem in scene.verbs)
            + 2 * (verb.group in scene.groups)
            + 8 * (ideas and scene.name in _CONTEMPLATIVE)
            + 8 * things
        )
    return tuple(weights)


class Narrator:
    """Draws the clauses of one chapter."""

    def __init__(self, rng: Random, cast: Cast) -> None:
        self.rng = rng
        self.cast = cast
        self._verbs: dict[frozenset[Noun], tuple[list[Verb], list[int]]] = {}

    def subject_for(self, verb: Verb) -> NounPhrase | None:
        """Somebody of the cast who does such things, most often a protagonist."""
        fitting = self.cast.of(verb.subjects)
        if not fitting:
            return None
        leads = [lead for lead in self.cast.leads if lead in fitting]
        if len(leads) == 2 and self.rng.random() < 0.12:
            first, second = self.rng.sample(leads, 2)
            partner = make_phrase(self.rng, second, adjective_rate=0)
            return replace(make_phrase(self.rng, first, adjective_rate=0), partner=partner)
        chosen = self.rng.choice(leads if leads and self.rng.random() < 0.45 else fitting)
        return self.phrase(chosen)

    def phrase(self, entry: Noun, used: Set[Noun] = frozenset()) -> NounPhrase:
        """A phrase around a noun, with a possessor from the cast (none of ``used``) now and then.

        A wife is nearly always somebody's.
        """
        owner = None
        rate = 0.5 if "kin" in entry.classes else 0.12 if "gift" in entry.classes else 0.0
        rate = 0.9 if entry.stem == "BAryA" else rate
        if self.rng.random() < rate and "name" not in entry.classes:
            owners = [
                other
                for other in self.cast.of(_PERSON)
                if other is not entry
                and other not in used
                and (entry.stem != "BAryA" or other.gender == "m")
            ]
            if owners:
                number = "sg" if entry.stem == "BAryA" else None
                owner = make_phrase(self.rng, self.rng.choice(owners), number, 0.1)
        return make_phrase(self.rng, entry, possessor=owner)

    def clause(
        self,
        tense: str,
        verb: Verb | None = None,
        subject: Phrase | None = None,
        avoid: frozenset[Noun] = frozenset(),
        patient: Phrase | None = None,
        modifiers: int | None = None,
        times: frozenset[str] = frozenset({"time"}),
    ) -> Clause | None:
        """One clause, or None where the cast cannot fill it.

        ``avoid`` are nouns that must not occur; ``patient`` is a pronoun for a personal object;
        ``times`` are the groups of expressions of time that may occur.
        """
        rng = self.rng
        if verb is None:
            verb = self.verb_for(frozenset() if subject is None else subject.nouns)
        if subject is None:
            subject = self.subject_for(verb)
        if subject is None:
            return None
        used = set(subject.nouns | avoid)
        if subject.nouns & avoid:
            return None
        filled: list[Filled] = []
        for argument in verb.arguments:
            if argument.optional and rng.random() < 0.55:
                continue
            if patient is not None and not filled and argument.classes & _PERSON:
                phrase: Phrase | None = patient
            else:
                phrase = self._fill(argument, used)
            if phrase is None:
                return None
            used |= phrase.nouns
            filled.append(Filled(argument, phrase))
        negated = rng.random() < 0.09
        count = rng.choices((0, 1, 2), (3, 5, 2))[0] if modifiers is None else modifiers
        return Clause(
            verb=verb,
            gloss=rng.choice(verb.glosses),
            tense=tense,
            subject=subject,
            arguments=tuple(filled),
            modifiers=self._modifiers(verb, tense, count, used, times, negated),
            negated=negated,
        )

    def verb_for(self, doers: frozenset[Noun]) -> Verb:
        """A verb that all of ``doers`` may be subject of, by the weights of the scene."""
        if doers not in self._verbs:
            fitting = [
                (verb, weight)
                for verb, weight in zip(VERBS, _weights(self.cast.scene), strict=True)
                if all(doer.classes & verb.subjects for doer in doers)
            ]
            weights = [weight for _, weight in fitting]
            self._verbs[doers] = [verb for verb, _ in fitting], list(accumulate(weights))
        verbs, totals = self._verbs[doers]
        return self.rng.choices(verbs, cum_weights=totals)[0]

    def _fill(self, argument: Argument, used: set[Noun]) -> NounPhrase | None:
        fitting = [entry for entry in self.cast.of(argument.classes) if entry not in used]
        if not fitting or self.rng.random() < _STRANGER_RATE:
            fitting = [
                entry
                for entry in nouns_of(argument.classes)
                if entry not in used
                and ("name" not in entry.classes or self.cast.family in entry.classes)
            ]
        return self.phrase(self.rng.choice(fitting), used) if fitting else None

    def _modifiers(
        self,
        verb: Verb,
        tense: str,
        count: int,
        used: set[Noun],
        times: frozenset[str],
        negated: bool,
    ) -> tuple[Modifier, ...]:
        """Up to ``count`` modifiers, one of each kind; what is not done has no manner."""
        groups = [*sorted(verb.modifiers - {"always"}), *sorted(times)]
        kinds: set[str] = {"manner"} if negated else set()
        modifiers = []
        for group in self.rng.sample(groups, min(count, len(groups))):
            modifier = self._modifier(group, tense, used)
            if modifier is None or modifier.kind in kinds:
                continue
            if modifier.kind != "phrase":
                kinds.add(modifier.kind)
            modifiers.append(modifier)
        return tuple(modifiers)

    def _modifier(self, group: str, tense: str, used: set[Noun]) -> Modifier | None:
        rng = self.rng
        if group in ("place", "from", "battle"):
            wanted = frozenset({"battle"}) if group == "battle" else _DRY
            places = [entry for entry in self.cast.of(wanted) if entry not in used]
            if not places or any("place" in entry.classes for entry in used):
                return None
            phrase = self.phrase(rng.choice(places), used)
            used.add(phrase.noun)
            case, preposition = (
                ("abl", "from") if group == "from" else ("loc", phrase.noun.preposition)
            )
            return Modifier(
                tuple(phrase.sanskrit(case)), f"{preposition} {phrase.english()}", "phrase", phrase
            )
        if group == "companion":
            people = [entry for entry in self.cast.of(_PERSON) if entry not in used]
            if not people:
                return None
            phrase = self.phrase(rng.choice(people), used)
            used |= phrase.nouns
            words = (*phrase.sanskrit("ins"), Word("saha", "saha", "indeclinable"))
            preposition = rng.choice(("with", "together with"))
            return Modifier(words, f"{preposition} {phrase.english(False)}", "phrase", phrase)
        fitting = [
            entry
            for entry in adverbs_of(frozenset({group}))
            if not isinstance(entry, Adverb)
            or (entry.tense in (None, tense) and (group == "habit") == ("habit" in entry.groups))
        ]
        entry = rng.choice(fitting)
        if isinstance(entry, Adverb):
            return adverbial(rng, entry)
        form = entry.noun.form(entry.case, "sg")
        word = Word(form, entry.noun.stem, "noun", entry.case, "sg", entry.noun.gender)
        kind = "time" if entry.group == "time" else "manner"
        return Modifier((word,), rng.choice(entry.glosses), kind)
