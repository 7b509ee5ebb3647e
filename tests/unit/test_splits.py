"""What is held out stays whole, shares nothing with training, and is large enough to measure."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.corpora.base import GradedPair, ParallelCorpus, VerseCorpus, VersePair
from cft.corpora.vbt import load_vbt
from cft.errors import CftError
from cft.triplets.groups import text_groups
from cft.triplets.splits import SHARES_A_SIDE, split_epic, split_verses

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "vbt" / "vbt.json"


def rows(count: int, name: str = "", chapter_of=lambda row: None) -> list[VersePair]:
    return [VersePair(f"sa {name}{n}", f"en {name}{n}", chapter_of(n), n) for n in range(count)]


def epic(**splits: list[VersePair]) -> ParallelCorpus:
    return ParallelCorpus("epic", splits, {}, {})


def test_the_test_split_is_preferred_and_dev_trains_neither():
    dev, test = rows(20, "dev "), rows(20, "test ")
    train = [
        *rows(50),
        VersePair("sa 3", "en dev 4", None, 50),
        VersePair("sa test 1", "x", None, 51),
    ]
    split = split_epic(epic(train=train, dev=dev, test=test), 400, 0)
    assert split.held_out == test
    assert split.train == rows(50)
    assert split.dropped == {SHARES_A_SIDE: 2}
    assert "test" in split.rule
    assert split_epic(epic(train=train, dev=dev), 400, 0).held_out == dev


def test_rows_with_unseen_texts_of_another_corpus_do_not_train():
    split = split_epic(epic(train=rows(10), test=rows(10, "t")), 400, 0, unseen=["en 4", "sa 7"])
    assert [pair.row for pair in split.train] == [0, 1, 2, 3, 5, 6, 8, 9]


def test_without_a_split_whole_chapters_are_held_out():
    corpus = epic(train=rows(200, chapter_of=lambda row: f"chapter {row // 9}"))
    split = split_epic(corpus, 30, seed=5)
    held = {pair.chapter for pair in split.held_out}
    assert not held & {pair.chapter for pair in split.train}
    assert 30 <= len(split.held_out) < 30 + 9
    assert len(split.train) + len(split.held_out) == 200
    assert f"{len(held)} whole chapters" in split.rule
    assert split_epic(corpus, 30, seed=5).held_out == split.held_out
    assert split_epic(corpus, 30, seed=6).held_out != split.held_out


def test_without_split_and_chapters_the_last_rows_are_held_out():
    split = split_epic(epic(train=rows(100)), 400, 0)
    assert [pair.row for pair in split.held_out] == list(range(80, 100))  # at most a fifth
    assert "last rows" in split.rule


def test_epic_refusals():
    with pytest.raises(CftError, match="4 training rows and no dev or test split"):
        split_epic(epic(train=rows(4)), 400, 0)
    with pytest.raises(CftError, match="one chapter and no dev or test split"):
        split_epic(epic(train=rows(50, chapter_of=lambda row: "one")), 400, 0)
    with pytest.raises(CftError, match="all 10 training rows share a text"):
        split_epic(epic(train=rows(10), test=rows(10)), 400, 0)


def verse_corpus(themes: list[str | None], pairs, unlike=(), graded=()) -> VerseCorpus:
    verses = [VersePair(f"sa {n}", f"en {n}", theme, n) for n, theme in enumerate(themes)]
    return VerseCorpus("verses", verses, list(pairs), list(unlike), list(graded), [], {}, {})


texts = st.one_of(
    st.builds("sa {}".format, st.integers(0, 19)),
    st.builds("en {}".format, st.integers(0, 19)),
    st.builds("free {}".format, st.integers(0, 3)),
)
text_pairs = st.lists(st.tuples(texts, texts), max_size=15)


@settings(max_examples=80, deadline=None)
@given(
    pairs=text_pairs,
    unlike=text_pairs,
    themes=st.none() | st.lists(st.sampled_from("pqrst"), min_size=20, max_size=20),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 5),
)
def test_no_text_and_no_group_stands_on_both_sides(pairs, unlike, themes, share, seed):
    graded = [GradedPair(a, b, 2.5) for a, b in unlike]
    corpus = verse_corpus(themes or [None] * 20, pairs, unlike, graded)
    group_of = text_groups(corpus)
    group_V = [group_of[verse.sanskrit] for verse in corpus.verses]
    if len(set(group_V)) == 1:
        with pytest.raises(CftError, match="all 20 verses form one group"):
            split_verses(corpus, share, seed)
        return
    split = split_verses(corpus, share, seed)
    assert split.train
    assert split.held_out
    assert sorted(v.row for v in split.train + split.held_out) == list(range(20))
    assert not {group_V[v.row] for v in split.train} & {group_V[v.row] for v in split.held_out}

    seen = {text for verse in split.train for text in (verse.sanskrit, verse.english)}
    seen |= {text for pair in split.train_similarity for text in pair}
    unseen = {text for verse in split.held_out for text in (verse.sanskrit, verse.english)}
    assert not seen & unseen
    for pair in split.held_out_similarity + split.held_out_dissimilarity:
        assert not seen.intersection(pair)
    for row in split.held_out_graded:
        assert not seen.intersection((graded[row].a, graded[row].b))
    if themes is None:  # connected groups: every similarity pair falls on one side
        assert split.counts["cut_similarity_pairs"] == 0
        assert len(split.train_similarity) + len(split.held_out_similarity) == len(pairs)


def test_labelled_themes_are_held_out_whole():
    themes = [name for name in "abcdefghij" for _ in range(6)]
    corpus = verse_corpus(themes, [("sa 0", "sa 1")])
    split = split_verses(corpus, 0.3, 1)
    assert len(split.held_out) == 18
    assert len({verse.chapter for verse in split.held_out}) == 3
    assert split.rule == "whole labelled themes"


def test_a_free_text_ties_the_verses_that_it_is_paired_with():
    corpus = verse_corpus([None] * 4, [("sa 0", "free"), ("free", "en 3")])
    groups = text_groups(corpus)
    assert [groups[f"sa {n}"] for n in range(4)] == [0, 1, 2, 0]
    assert groups["free"] == groups["en 0"] == 0


def test_the_seed_decides():
    corpus = verse_corpus([None] * 60, [(f"sa {n}", f"sa {n + 1}") for n in range(0, 30, 2)])
    assert split_verses(corpus, 0.3, 1).held_out == split_verses(corpus, 0.3, 1).held_out
    assert split_verses(corpus, 0.3, 1).held_out != split_verses(corpus, 0.3, 2).held_out


if REAL.is_file():

    @pytest.mark.parametrize("seed", [0, 7, 42])
    def test_the_real_corpus_keeps_its_share_of_both_kinds_of_pairs(seed: int):
        counts = split_verses(load_vbt(REAL), 0.3, seed).counts
        assert 50 <= counts["held_out_verses"] <= 54
        assert counts["held_out_similarity_pairs"] >= 16
        assert counts["train_similarity_pairs"] >= 38
        assert counts["held_out_dissimilarity_pairs"] >= 11
