"""Noun phrases: one structure that is read out in Sanskrit and in English."""

from dataclasses import dataclass
from random import Random

from .declension import decline_pronoun
from .english import article, plural, possessive
from .lexicon import Adjective, Noun, adjectives_for
from .lexicon.qualities import PERSONAL

# Classes of nouns that occur in the singular only.
_SINGULAR = frozenset({"name", "mass", "one", "hour", "single", "doctrine"})


@dataclass(frozen=True)
class Word:
    """A Sanskrit word form (SLP1) with the features that it expresses."""

    form: str
    stem: str
    kind: str  # noun, adjective, pronoun, verb, indeclinable
    case: str | None = None
    number: str | None = None
    gender: str | None = None
    person: int | None = None
    tense: str | None = None


@dataclass(frozen=True)
class NounPhrase:
    """A noun with its adjective, possessor and coordinated noun; the English is already chosen."""

    noun: Noun
    number: str  # sg, du, pl of the noun itself
    gloss: str
    determiner: str = "the"  # the, a or nothing
    adjective: Adjective | None = None
    adjective_gloss: str = ""
    possessor: "NounPhrase | None" = None
    genitive_of: bool = False  # the son of the king rather than the king's son
    partner: "NounPhrase | None" = None  # rāmaḥ lakṣmaṇaḥ ca

    @property
    def person(self) -> int:
        """Noun phrases are third persons."""
        return 3

    @property
    def agreement(self) -> str:
        """The number that a verb or pronoun agrees with: two singulars make a dual."""
        if self.partner is None:
            return self.number
        return "du" if self.number == self.partner.number == "sg" else "pl"

    @property
    def gender(self) -> str:
        """The gender that a pronoun agrees with: masculine prevails over feminine."""
        genders = {self.noun.gender} | ({self.partner.noun.gender} if self.partner else set())
        return genders.pop() if len(genders) == 1 else "m"

    @property
    def nouns(self) -> frozenset[Noun]:
        """Every noun inside the phrase."""
        found = {self.noun}
        for inner in (self.possessor, self.partner):
            if inner is not None:
                found |= inner.nouns
        return frozenset(found)

    def sanskrit(self, case: str) -> list[Word]:
        """Words in order: possessor, adjective, noun, then the coordinated noun and ca."""
        words = self.possessor.sanskrit("gen") if self.possessor else []
        agreed = (case, self.number, self.noun.gender)
        if self.adjective:
            form = self.adjective.form(self.noun.gender, case, self.number)
            words.append(Word(form, self.adjective.stem, "adjective", *agreed))
        words.append(Word(self.noun.form(case, self.number), self.noun.stem, "noun", *agreed))
        if self.partner:
            words += [*self.partner.sanskrit(case), Word("ca", "ca", "indeclinable")]
        return words

    def english(self, subject: bool = True) -> str:
        """The phrase in English (``subject`` matters to pronouns only)."""
        all_of = self.adjective is not None and self.adjective.stem == "sarva"
        head = self.gloss if self.number == "sg" else plural(self.gloss)
        if self.adjective and not all_of:
            head = f"{self.adjective_gloss} {head}"
        if self.number == "du":
            head = f"two {head}"
        if self.possessor is None:
            phrase = (
                article(head) if self.determiner == "a" else f"{self.determiner} {head}".strip()
            )
            phrase = f"the {head}" if all_of else phrase
        elif self.genitive_of:
            phrase = f"the {head} of {self.possessor.english()}"
        else:
            phrase = f"{possessive(self.possessor.english())} {head}"
        phrase = f"all {phrase}" if all_of else phrase
        return f"{phrase} and {self.partner.english()}" if self.partner else phrase


@dataclass(frozen=True)
class Pronoun:
    """He, she, they: the demonstrative ta- that takes up a noun phrase."""

    antecedent: NounPhrase
    stem: str = "ta"

    @property
    def person(self) -> int:
        return 3

    @property
    def agreement(self) -> str:
        return self.antecedent.agreement

    @property
    def gender(self) -> str:
        return self.antecedent.gender

    @property
    def nouns(self) -> frozenset[Noun]:
        return self.antecedent.nouns

    def sanskrit(self, case: str) -> list[Word]:
        form = decline_pronoun(self.stem, self.gender, case, self.agreement)
        return [Word(form, self.stem, "pronoun", case, self.agreement, self.gender)]

    def english(self, subject: bool = True) -> str:
        if self.agreement != "sg":
            return "they" if subject else "them"
        if "person" not in self.antecedent.noun.classes:
            return "it"
        if self.gender == "f":
            return "she" if subject else "her"
        return "he" if subject else "him"


@dataclass(frozen=True)
class Speaker:
    """I, we, you: the subject of direct speech; not ``spoken`` where the verb alone says it."""

    person: int
    agreement: str
    spoken: bool = True

    @property
    def nouns(self) -> frozenset[Noun]:
        return frozenset()

    def sanskrit(self, case: str) -> list[Word]:
        """The pronoun, nominative only, or nothing."""
        if not self.spoken:
            return []
        form = PERSONAL[self.person, self.agreement][0]
        return [Word(form, form, "pronoun", case, self.agreement, None, self.person)]

    def english(self, subject: bool = True) -> str:
        return PERSONAL[self.person, self.agreement][1]


Phrase = NounPhrase | Pronoun | Speaker


def make_phrase(
    rng: Random,
    noun: Noun,
    number: str | None = None,
    adjective_rate: float = 0.3,
    possessor: NounPhrase | None = None,
) -> NounPhrase:
    """A phrase around ``noun``: number, adjective, determiner and English drawn from ``rng``."""
    classes = noun.classes
    if classes & _SINGULAR:
        number = "sg"
    elif number is None:
        seldom = classes & {"royal", "place"}
        plural_share, dual_share = (0.08, 0.03) if seldom else (0.25, 0.1)
        draw = rng.random()
        number = "pl" if draw < plural_share else "du" if draw < plural_share + dual_share else "sg"
    adjective, gloss = None, ""
    if rng.random() < adjective_rate:
        fitting = [
            word
            for word in adjectives_for(noun)
            if word.stem != "sarva" or (number == "pl" and rng.random() < 0.4)
        ]
        if fitting:
            adjective = rng.choice(fitting)
            gloss = rng.choice(adjective.glosses_for(noun))
    return NounPhrase(
        noun=noun,
        number=number,
        gloss=rng.choice(noun.glosses),
        determiner=_determiner(rng, noun, number),
        adjective=adjective,
        adjective_gloss=gloss,
        possessor=possessor,
        genitive_of=possessor is not None and rng.random() < 0.4,
    )


def _determiner(rng: Random, noun: Noun, number: str) -> str:
    classes = noun.classes
    if "name" in classes or "bare" in classes:
        return ""
    if number == "du":
        return rng.choice(("the", "the", ""))
    if classes & {"one", "hour", "doctrine"}:
        return "the"
    if "mass" in classes:
        return rng.choice(("the", ""))
    if number == "pl":
        return "the" if rng.random() < 0.6 else ""
    return "the" if rng.random() < (0.85 if classes & {"person", "place"} else 0.65) else "a"
