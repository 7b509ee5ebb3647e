"""English inflection, and how clauses read."""

from random import Random

import pytest

from cft.corpora.synthetic import english, lexicon
from cft.corpora.synthetic.clauses import Clause, Filled
from cft.corpora.synthetic.phrases import NounPhrase, Pronoun


@pytest.mark.parametrize(
    ("noun", "plural"),
    [
        ("king", "kings"),
        ("young woman", "young women"),
        ("wise man", "wise men"),
        ("thief", "thieves"),
        ("city", "cities"),
        ("boy", "boys"),
        ("branch", "branches"),
        ("lotus", "lotuses"),
        ("deer", "deer"),
        ("foot", "feet"),
        ("hero", "heroes"),
    ],
)
def test_plural(noun: str, plural: str) -> None:
    assert english.plural(noun) == plural


def test_small_words() -> None:
    assert english.possessive("the king") == "the king's"
    assert english.possessive("the kings") == "the kings'"
    assert english.article("envoy") == "an envoy"
    assert english.article("one-pointed mind") == "a one-pointed mind"
    assert english.past_of("carry") == "carried"
    assert english.past_of("beg") == "begged"
    assert english.past_of("play") == "played"
    assert english.past_of("invite") == "invited"
    assert english.past_of("sow") == "sowed"
    assert english.third_person("go") == "goes"
    assert english.third_person("carry") == "carries"
    assert english.third_person("wash") == "washes"


def phrase(stem: str, number: str = "sg", **more) -> NounPhrase:
    entry = lexicon.noun(stem)
    determiner = more.pop("determiner", "" if "name" in entry.classes else "the")
    return NounPhrase(entry, number, entry.glosses[0], determiner, **more)


def test_noun_phrases() -> None:
    wise = next(word for word in lexicon.ADJECTIVES if word.stem == "prAjYa")
    every = next(word for word in lexicon.ADJECTIVES if word.stem == "sarva")
    sons = phrase("putra", "pl", adjective=wise, adjective_gloss="wise", possessor=phrase("nfpa"))
    assert sons.english() == "the king's wise sons"
    assert [w.form for w in sons.sanskrit("dat")] == ["nfpasya", "prAjYeByaH", "putreByaH"]
    both = phrase("muni", "du")
    assert both.english() == "the two sages"
    gods = phrase("deva", "pl", adjective=every, adjective_gloss="all")
    assert gods.english() == "all the gods"
    assert [w.form for w in gods.sanskrit("nom")] == ["sarve", "devAH"]
    pair = phrase("rAma", partner=phrase("sItA"))
    assert pair.english() == "Rama and Sita"
    assert (pair.agreement, pair.gender) == ("du", "m")
    assert [w.form for w in pair.sanskrit("nom")] == ["rAmaH", "sItA", "ca"]
    assert [w.form for w in Pronoun(pair).sanskrit("ins")] == ["tAByAm"]
    assert Pronoun(phrase("sItA")).english(subject=False) == "her"


@pytest.mark.parametrize(
    ("tense", "number", "negated", "expected"),
    [
        ("imperfect", "sg", False, "the king protected the city"),
        ("imperfect", "sg", True, "the king did not protect the city"),
        ("present", "sg", False, "the king protects the city"),
        ("present", "pl", False, "the kings protect the city"),
        ("present", "pl", True, "the kings do not protect the city"),
        ("present", "du", True, "the two kings do not protect the city"),
    ],
)
def test_clause(tense: str, number: str, negated: bool, expected: str) -> None:
    verb = next(verb for verb in lexicon.VERBS if verb.stem == "rakza")
    clause = Clause(
        verb,
        verb.glosses[0],
        tense,
        phrase("nfpa", number),
        (Filled(verb.arguments[0], phrase("nagara")),),
        negated=negated,
    )
    assert clause.english(Random(0), passive_rate=0) == expected
    words = {word.form for group in clause.sanskrit(Random(0)) for word in group}
    assert "nagaram" in words
    assert ("na" in words) == negated


def test_passive_and_being() -> None:
    verb = next(verb for verb in lexicon.VERBS if verb.stem == "rakza")
    clause = Clause(
        verb,
        verb.glosses[0],
        "imperfect",
        phrase("nfpa"),
        (Filled(verb.arguments[0], phrase("grAma", "pl")),),
    )
    passive = clause.english(Random(0), passive_rate=1)
    assert passive == "the villages were protected by the king"
    pleased = next(verb for verb in lexicon.VERBS if verb.stem == "tuzya")
    clause = Clause(
        pleased,
        pleased.glosses[0],
        "imperfect",
        phrase("devI"),
        (Filled(pleased.arguments[0], phrase("mAlA")),),
        negated=True,
    )
    assert clause.english(Random(0)) == "the goddess was not pleased with the garland"
