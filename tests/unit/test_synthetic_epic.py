"""The generated epic: grammar of every clause, distinct texts, splits, determinism."""

import os
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise, product

import pytest

from cft.corpora.base import ParallelCorpus
from cft.corpora.synthetic import GENERATOR_VERSION, epic, verses
from cft.corpora.synthetic.chapters import ENGLISH_WORDS, SANSKRIT_WORDS, tell
from cft.corpora.synthetic.conjugation import TENSES
from cft.corpora.synthetic.declension import CASES, NUMBERS, decline_pronoun
from cft.corpora.synthetic.lexicon import ADJECTIVES, ADVERBS, DOCTRINE_VERBS, NOUNS, VERBS
from cft.corpora.synthetic.lexicon.qualities import PARTICLES, PERSONAL
from cft.corpora.synthetic.phrases import NounPhrase, Pronoun
from cft.corpora.synthetic.scenes import SCENES
from cft.corpora.synthetic.script import to_devanagari
from cft.corpora.synthetic.verse import Verse
from cft.text import normalise, text_id

VALID_WORD = re.compile(r"[\u0900-\u097f]+")


@cache
def corpus() -> ParallelCorpus:
    return epic()


@cache
def chapters() -> list[tuple[str, list[Verse]]]:
    return tell()


@cache
def told() -> list[Verse]:
    return [verse for _, chapter in chapters() for verse in chapter]


@cache
def inflected_forms() -> frozenset[str]:
    """Every word that the lexicon can yield, in Devanagari."""
    forms = set(PARTICLES) | {form for form, _ in PERSONAL.values()}
    forms |= {adverb.form for adverb in ADVERBS}
    for case, number in product(CASES, NUMBERS):
        forms |= {noun.form(case, number) for noun in NOUNS}
        if case == "voc":
            continue
        for gender in "mfn":
            forms |= {word.form(gender, case, number) for word in ADJECTIVES}
            forms |= {decline_pronoun(stem, gender, case, number) for stem in ("ta", "ya")}
    for verb, tense, person, number in product(
        (*VERBS, *DOCTRINE_VERBS), TENSES, (1, 2, 3), NUMBERS
    ):
        forms.add(verb.form(tense, person, number))
    return frozenset(map(to_devanagari, forms))


def test_size_and_splits() -> None:
    splits = corpus().splits
    total = sum(map(len, splits.values()))
    assert 4500 <= total <= 6000
    assert 0.82 <= len(splits["train"]) / total <= 0.88
    assert 0.05 <= len(splits["dev"]) / total <= 0.09
    assert 0.06 <= len(splits["test"]) / total <= 0.10
    for rows in splits.values():
        assert [pair.row for pair in rows] == list(range(len(rows)))
    assert corpus().source == {"generator": GENERATOR_VERSION, "seed": "42"}


def test_splits_are_whole_chapters_in_narrative_order() -> None:
    chapters = {split: [pair.chapter for pair in rows] for split, rows in corpus().splits.items()}
    labels = [set(names) for names in chapters.values()]
    assert sum(map(len, labels)) == len(set().union(*labels)) >= 200
    for names in chapters.values():
        assert names == sorted(names, key=lambda name: int((name or "").split()[0]))
        for name in set(names):
            assert 18 <= names.count(name) <= 30
    # Every theme is learned from, and held out chapters are of many themes.
    assert {name.split(" ")[1] for name in labels[0] if name} == {scene.name for scene in SCENES}


def test_no_text_occurs_twice_anywhere() -> None:
    texts = [
        text
        for rows in (*corpus().splits.values(), verses().verses)
        for pair in rows
        for text in (pair.sanskrit, pair.english)
    ]
    assert len(set(map(text_id, texts))) == len(set(texts)) == len(texts)


def test_texts_have_their_normal_form_and_measure() -> None:
    for rows in corpus().splits.values():
        for pair in rows:
            assert normalise(pair.sanskrit) == pair.sanskrit
            assert normalise(pair.english) == pair.english
            assert re.fullmatch(r"[\u0900-\u0963 ]+। [\u0900-\u0963 ]+॥", pair.sanskrit)
            assert re.fullmatch(r"[A-Z][a-zA-Z ',;:-]*\.", pair.english), pair.english
            assert "  " not in pair.english
            words = VALID_WORD.findall(pair.sanskrit.replace("।", " ").replace("॥", " "))
            assert SANSKRIT_WORDS[0] <= len(words) <= SANSKRIT_WORDS[1]
            assert ENGLISH_WORDS[0] <= len(pair.english.split()) <= ENGLISH_WORDS[1]


def test_every_word_is_an_inflected_form_of_the_lexicon() -> None:
    for rows in (*corpus().splits.values(), verses().verses):
        for pair in rows:
            words = pair.sanskrit.replace("।", "").replace("॥", "").split()
            assert set(words) <= inflected_forms(), pair.sanskrit


def test_adjectives_agree_with_their_nouns() -> None:
    checked = 0
    for verse in told():
        for before, after in zip(verse.words, verse.words[1:], strict=False):
            if before.kind != "adjective" or after.kind == "indeclinable":
                continue
            assert after.kind == "noun"
            assert (before.case, before.number, before.gender) == (
                after.case,
                after.number,
                after.gender,
            ), verse.sanskrit
            checked += 1
    assert checked > 3000


def test_verbs_agree_with_their_subjects() -> None:
    for verse in told():
        finite = [word for word in verse.words if word.kind == "verb"]
        assert len(finite) == len(verse.clauses)
        for clause in verse.clauses:
            verb = clause.finite()[-1]
            assert verb in finite
            subject = clause.subject
            assert (verb.person, verb.number) == (subject.person, subject.agreement)
            assert verb.form == clause.verb.form(clause.tense, subject.person, subject.agreement)
            if isinstance(subject, NounPhrase) and subject.partner:
                assert verb.number == "du"
            # All of the subject's words but possessors (and particles) are nominatives.
            cases = {word.case for word in subject.sanskrit("nom")}
            assert cases <= {"nom", "gen", None}


def test_arguments_stand_in_the_case_that_the_verb_governs() -> None:
    for verse in told():
        for clause in verse.clauses:
            for filled in clause.arguments:
                assert filled.argument in clause.verb.arguments
                head = filled.sanskrit()[-1 - filled.argument.saha]
                if isinstance(filled.phrase, NounPhrase) and not filled.phrase.partner:
                    assert head.case == filled.argument.case
                    assert head.stem == filled.phrase.noun.stem
                    assert filled.phrase.noun.classes & filled.argument.classes


def test_pronouns_agree_with_what_they_take_up() -> None:
    seen = set()
    for verse in told():
        for clause in verse.clauses:
            phrases = [clause.subject, *(filled.phrase for filled in clause.arguments)]
            for phrase in phrases:
                if not isinstance(phrase, Pronoun):
                    continue
                antecedent = phrase.antecedent
                (word,) = phrase.sanskrit("nom")
                assert word.number == antecedent.agreement
                assert word.gender == antecedent.gender
                assert antecedent in (verse.clauses[0].subject, verse.clauses[1].subject)
                seen.add((phrase.english(), word.number, word.gender))
    assert {("he", "sg", "m"), ("she", "sg", "f"), ("they", "du", "m")} <= seen


@pytest.mark.parametrize("feature", ["case", "number", "person", "tense"])
def test_the_whole_grammar_is_in_use(feature: str) -> None:
    found = {getattr(word, feature) for verse in told() for word in verse.words} - {None}
    expected = {
        "case": set(CASES) - {"voc"},
        "number": set(NUMBERS),
        "person": {1, 2, 3},
        "tense": set(TENSES),
    }
    assert found == expected[feature]


def test_held_out_verses_are_new_combinations_of_known_words() -> None:
    def words(split: str) -> list[set[str]]:
        rows = corpus().splits[split]
        return [set(re.sub("[।॥]", "", pair.sanskrit).split()) for pair in rows]

    train, test = words("train"), words("test")
    known = set().union(*train)
    held_out = [word for verse in test for word in verse]
    assert sum(word in known for word in held_out) / len(held_out) > 0.95
    # The nearest training verse shares less than half of a verse's words.
    closest = [max(len(verse & other) / len(verse | other) for other in train) for verse in test]
    assert sum(closest) / len(closest) < 0.5
    assert max(closest) < 1


def test_next_verse_is_about_the_same_actors() -> None:
    def related(a: Verse, b: Verse) -> bool:
        one, two = ({word.stem for word in v.words if word.kind == "noun"} for v in (a, b))
        return bool(one & two)

    near = [related(a, b) for _, chapter in chapters() for a, b in pairwise(chapter)]
    far = [related(a, b) for a, b in zip(told(), told()[1000:], strict=False)]
    assert sum(near) / len(near) > 3 * sum(far) / len(far)


def test_other_seeds_tell_other_stories() -> None:
    ours = {pair.sanskrit for pair in corpus().splits["train"]}
    others = {pair.sanskrit for pair in epic(seed=7).splits["train"]}
    assert len(ours & others) < 0.01 * len(ours)


_DIGEST = """
from cft.corpora.synthetic import epic, verses
from cft.files import digest_json

def digest():
    corpus, themes = epic(), verses()
    rows = [[k, p.sanskrit, p.english, p.chapter] for k, s in corpus.splits.items() for p in s]
    rows += [[p.sanskrit, p.english, p.chapter] for p in themes.verses]
    rows += [[g.a, g.b, g.score] for g in themes.graded_pairs]
    rows += [themes.similarity_pairs, themes.dissimilarity_pairs, themes.retrieval_cases]
    return digest_json(rows)

print(digest())
"""


def test_same_texts_in_every_process() -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", _DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "2024")
    ]
    digests = [run.communicate(timeout=240)[0].strip() for run in runs]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 16
