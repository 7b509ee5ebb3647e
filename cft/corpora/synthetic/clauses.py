"""Clauses: a verb with its subject, arguments and modifiers, read out in both languages."""

from dataclasses import dataclass
from random import Random

from .english import third_person
from .lexicon import Adverb, Argument, Gloss, Verb
from .phrases import NounPhrase, Phrase, Word

# English verbs whose recipient may stand before the object without a preposition.
_DATIVE_SHIFT = {"give", "show", "tell", "teach", "offer", "send"}
_NO_PASSIVE = {"want", "desire", "wear", "love", "find", "obtain", "gain"}


@dataclass(frozen=True)
class Modifier:
    """An adverb, or a phrase in an oblique case, with its English."""

    words: tuple[Word, ...]
    english: str
    kind: str  # time, manner, phrase
    phrase: Phrase | None = None


@dataclass(frozen=True)
class Filled:
    """An argument of the verb and the phrase that fills it."""

    argument: Argument
    phrase: Phrase

    def sanskrit(self) -> list[Word]:
        """The phrase in the case that the verb governs, with saha where it takes one."""
        words = self.phrase.sanskrit(self.argument.case)
        return [*words, Word("saha", "saha", "indeclinable")] if self.argument.saha else words

    def english(self) -> str:
        """Preposition and phrase; a place chooses its own preposition."""
        preposition = self.argument.preposition
        if preposition in ("in", "on") and isinstance(self.phrase, NounPhrase):
            preposition = self.phrase.noun.preposition
        return f"{preposition} {self.phrase.english(subject=False)}".strip()


@dataclass(frozen=True)
class Clause:
    """One finite verb with everything that depends on it."""

    verb: Verb
    gloss: Gloss
    tense: str
    subject: Phrase
    arguments: tuple[Filled, ...] = ()
    modifiers: tuple[Modifier, ...] = ()
    negated: bool = False

    def finite(self) -> list[Word]:
        """The verb, agreeing with the subject, after na where the clause is negated."""
        person, number = self.subject.person, self.subject.agreement
        form = self.verb.form(self.tense, person, number)
        stem = "+".join((*self.verb.preverbs, self.verb.stem))
        verb = Word(form, stem, "verb", number=number, person=person, tense=self.tense)
        return [Word("na", "na", "indeclinable"), verb] if self.negated else [verb]

    def sanskrit(self, rng: Random) -> list[list[Word]]:
        """Constituents in one of the orders that the language allows: mostly verb-final."""
        subject = [self.subject.sanskrit("nom")] if self.subject.sanskrit("nom") else []
        times = [list(m.words) for m in self.modifiers if m.kind == "time"]
        others = [list(m.words) for m in self.modifiers if m.kind != "time"]
        others += [filled.sanskrit() for filled in self.arguments]
        rng.shuffle(others)
        draw = rng.random()
        if draw < 0.55:
            order = [*times, *subject, *others]
        elif draw < 0.7:
            order = [*subject, *times, *others]
        elif draw < 0.85:
            order = [*times, *others[:1], *subject, *others[1:]]
        else:
            order = [*others, *subject, *times]
        at = len(order) if len(order) < 2 or rng.random() < 0.85 else len(order) - 1
        return [*order[:at], self.finite(), *order[at:]]

    def predicate(self, rng: Random, time_last: bool = True) -> str:
        """Verb, arguments and modifiers in English, without the subject."""
        return " ".join([self._verb(), self._rest(rng, time_last)]).strip()

    def english(self, rng: Random, passive_rate: float = 0.12, fronted: bool = True) -> str:
        """The clause in English, active or passive, lower case and without a full stop.

        ``fronted`` lets an expression of time open the clause.
        """
        front = ""
        times = [m.english for m in self.modifiers if m.kind == "time"]
        if fronted and times and rng.random() < 0.6:
            front, times = ", ".join(times) + rng.choice((" ", ", ")), []
        if self._passive_object() is not None and rng.random() < passive_rate:
            return front + self._passive(rng, bool(times))
        before = self._before(rng)
        verb = self._verb(before)
        rest = self._rest(rng, bool(times), skip=before)
        return front + " ".join(part for part in (self.subject.english(), verb, rest) if part)

    def _verb(self, before: str = "") -> str:
        """The English verb phrase up to its particle; ``before`` stands before the verb."""
        past = self.tense == "imperfect"
        third = self.subject.person == 3 and self.subject.agreement == "sg"
        adverb = f"{before} " if before else ""
        gloss = self.gloss
        if gloss.base == "be":
            singular = self.subject.agreement == "sg" and self.subject.person != 2
            if past:
                verb = "was" if singular else "were"
            else:
                verb = "is" if third else "am" if singular else "are"
            verb += " not" if self.negated else ""
            return f"{verb} {adverb}{gloss.particle}"
        if self.negated:
            auxiliary = "did" if past else "does" if third else "do"
            verb = f"{auxiliary} not {adverb}{gloss.base}"
        else:
            verb = adverb + (
                gloss.past if past else third_person(gloss.base) if third else gloss.base
            )
        if gloss.particle == "off" or not gloss.particle:
            return verb
        return f"{verb} {gloss.particle}"

    def _rest(self, rng: Random, time_last: bool, skip: str = "") -> str:
        parts = [filled.english() for filled in self.arguments]
        direct = bool(self.arguments) and not self.arguments[0].argument.preposition
        if self.gloss.particle == "off":
            parts.insert(1, "off")
        elif self._shifts() and direct and rng.random() < 0.4:
            parts[:2] = [self.arguments[1].phrase.english(subject=False), parts[0]]
        parts += [
            modifier.english
            for modifier in self.modifiers
            if (modifier.kind != "time" or time_last) and modifier.english != skip
        ]
        return " ".join(parts)

    def _shifts(self) -> bool:
        return (
            self.gloss.base in _DATIVE_SHIFT
            and len(self.arguments) > 1
            and self.arguments[1].argument.case == "dat"
            and self.arguments[1].argument.preposition == "to"
        )

    def _before(self, rng: Random) -> str:
        """A manner adverb in -ly may stand before the verb."""
        for modifier in self.modifiers:
            if modifier.kind == "manner" and modifier.english.endswith("ly") and rng.random() < 0.5:
                return modifier.english
        return ""

    def _passive_object(self) -> Phrase | None:
        if not self.arguments or self.gloss.base in _NO_PASSIVE or self.gloss.base == "be":
            return None
        first = self.arguments[0]
        is_object = not first.argument.preposition and isinstance(first.phrase, NounPhrase)
        return first.phrase if is_object and isinstance(self.subject, NounPhrase) else None

    def _passive(self, rng: Random, time_last: bool) -> str:
        patient = self._passive_object()
        assert patient is not None
        plural = patient.agreement != "sg"
        if self.tense == "imperfect":
            auxiliary = "were" if plural else "was"
        else:
            auxiliary = "are" if plural else "is"
        participle = f"{self.gloss.participle} {self.gloss.particle}".strip()
        parts = [patient.english(), auxiliary, "not" if self.negated else "", participle]
        parts += [filled.english() for filled in self.arguments[1:]]
        parts.append(f"by {self.subject.english(subject=False)}")
        parts += [m.english for m in self.modifiers if m.kind != "time" or time_last]
        return " ".join(part for part in parts if part)


def adverbial(rng: Random, entry: Adverb) -> Modifier:
    """An adverb of the lexicon as a modifier."""
    kind = "time" if "time" in entry.groups else "manner"
    word = Word(entry.form, entry.form, "indeclinable")
    return Modifier((word,), rng.choice(entry.glosses), kind)
