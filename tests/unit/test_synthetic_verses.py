"""The contemplative verses and their grades."""

from collections import Counter
from functools import cache
from random import Random

import pytest

from cft.corpora.base import VerseCorpus
from cft.corpora.synthetic import verses
from cft.corpora.synthetic.contemplation import WEIGHTS, concepts, score, sensible
from cft.corpora.synthetic.themes import VERSES_PER_THEME, compose
from cft.text import normalise


@cache
def corpus() -> VerseCorpus:
    return verses()


def test_168_verses_in_24_themes() -> None:
    themes = [verse.chapter for verse in corpus().verses]
    assert len(themes) == 168
    assert set(Counter(themes).values()) == {VERSES_PER_THEME}
    assert len(set(themes)) == 24
    assert [verse.row for verse in corpus().verses] == list(range(168))


def test_texts_are_distinct_and_have_their_normal_form() -> None:
    texts = [text for v in corpus().verses for text in (v.sanskrit, v.english)]
    assert len(set(texts)) == 2 * 168
    assert all(normalise(text) == text for text in texts)
    for verse in corpus().verses:
        assert verse.sanskrit.endswith("॥")
        assert verse.english.isascii()
        assert verse.english[0].isupper()
        assert verse.english.endswith(".")
        assert 6 <= len(verse.sanskrit.split()) <= 14
        assert 8 <= len(verse.english.split()) <= 25


def test_meanings_are_sensible_and_expressed() -> None:
    for meaning, verse in compose():
        assert sensible(meaning)
        stems = {word.stem for word in verse.words}
        for slot, concept in meaning.items():
            needed = [set(v.replace(":", "+").split("+")) for v in concept.variants]
            joined = stems | {part for stem in stems for part in stem.split("+")}
            assert any(parts <= joined for parts in needed), (slot, concept.name)


def test_score_rule() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    (meaning, _), *_ = compose()
    assert score(meaning, meaning) == 5
    for slot, weight in WEIGHTS.items():
        here = meaning[slot]
        same_field = [c for c in concepts(slot) if c.field == here.field and c != here]
        foreign = [c for c in concepts(slot) if c.field != here.field]
        far = {**meaning, slot: foreign[0]}
        assert score(meaning, far) == score(far, meaning) == pytest.approx(5 * (1 - weight))
        if same_field:
            near = {**meaning, slot: same_field[0]}
            assert score(meaning, near) == pytest.approx(5 * (1 - 0.6 * weight))
    other = {
        slot: next(c for c in concepts(slot) if c.field != meaning[slot].field) for slot in WEIGHTS
    }
    assert score(meaning, other) == 0


def test_graded_pairs_spread_over_the_scale() -> None:
    graded = corpus().graded_pairs
    assert len(graded) >= 300
    bands = Counter(min(int(pair.score), 4) for pair in graded)
    assert all(bands[band] >= 40 for band in range(5)), bands
    assert min(pair.score for pair in graded) == 0
    assert max(pair.score for pair in graded) == 5
    assert len({(p.a, p.b) for p in graded}) == len(graded)


def test_graded_pairs_carry_the_score_of_their_meanings() -> None:
    meaning_of = {
        text: meaning for meaning, verse in compose() for text in (verse.sanskrit, verse.english)
    }
    kinds: Counter[tuple[bool, bool]] = Counter()
    for pair in corpus().graded_pairs:
        assert pair.score == score(meaning_of[pair.a], meaning_of[pair.b])
        assert meaning_of[pair.a] is not meaning_of[pair.b]
        kinds[pair.a.isascii(), pair.b.isascii()] += 1
    assert kinds[False, False] > 250
    assert kinds[False, True] > 150
    assert kinds[True, True] > 50


def test_pairs_and_cases() -> None:
    theme = {t: v.chapter for v in corpus().verses for t in (v.sanskrit, v.english)}
    similar, unlike = corpus().similarity_pairs, corpus().dissimilarity_pairs
    assert len(similar) >= 60
    assert len(unlike) >= 40
    assert all(theme[a] == theme[b] for a, b in similar)
    assert all(theme[a] != theme[b] for a, b in unlike)
    assert len(set(similar)) == len(similar)
    assert len(corpus().retrieval_cases) == 24
    for query, rows in corpus().retrieval_cases:
        assert query not in theme
        assert len(rows) >= 5
        assert len({corpus().verses[row].chapter for row in rows}) == 1


@pytest.mark.parametrize("seed", range(12))
def test_a_third_of_the_themes_leaves_enough_graded_pairs(seed: int) -> None:
    themes = sorted({str(verse.chapter) for verse in corpus().verses})
    held_out = set(Random(seed).sample(themes, 7))
    texts = {t for v in corpus().verses if v.chapter in held_out for t in (v.sanskrit, v.english)}
    kept = [pair for pair in corpus().graded_pairs if {pair.a, pair.b} <= texts]
    assert len(kept) >= 80
    assert max(p.score for p in kept) - min(p.score for p in kept) >= 4


def test_a_paraphrase_shares_few_words() -> None:
    composed = compose()
    shares = []
    for start in range(0, len(composed), VERSES_PER_THEME):
        (meaning, core), (again, paraphrase) = composed[start], composed[start + 1]
        assert score(meaning, again) == 5
        one, two = ({w.form for w in verse.words} for verse in (core, paraphrase))
        shares.append(len(one & two) / len(one | two))
    assert sum(shares) / len(shares) < 0.45
