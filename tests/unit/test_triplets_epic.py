"""Stage-1 triplets: who may be whose positive and hard negative."""

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.corpora.base import VersePair
from cft.corpora.itihasa import load_itihasa
from cft.errors import CftError
from cft.triplets.itihasa import epic_triplets

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "itihasa"


def story(chapters: list[int] | None, rows: int = 0, repeat: int = 0) -> list[VersePair]:
    """Distinct verses; ``repeat`` > 0 makes every so-many-th verse the same refrain."""
    labels = [f"chapter {n}" for n, size in enumerate(chapters or []) for _ in range(size)]
    labels = labels or [None] * rows
    return [
        VersePair(
            "refrain" if repeat and row % repeat == 0 else f"sa {row}", f"en {row}", label, row
        )
        for row, label in enumerate(labels)
    ]


def test_cross_lingual_and_monolingual_rows():
    pairs = story([30, 30, 30])
    triplets = epic_triplets(pairs, "both", min_distance=10, seed=0)
    assert triplets.kinds() == {"cross_lingual": 90, "mono_sa": 87}
    assert triplets.anchor[:90] == [pair.sanskrit for pair in pairs]
    assert triplets.positive[:90] == [pair.english for pair in pairs]
    assert {row[0].split()[0] for row in triplets.negatives[:90]} == {"en"}
    assert {row[0].split()[0] for row in triplets.negatives[90:]} == {"sa"}
    assert epic_triplets(pairs, "mono_sa", 10, 0).kinds() == {"mono_sa": 87}


def test_one_kind_is_drawn_the_same_whether_or_not_the_other_is_asked_for():
    pairs = story([50, 50])
    both = epic_triplets(pairs, "both", 20, seed=3)
    alone = epic_triplets(pairs, "mono_sa", 20, seed=3)
    assert both.negatives[100:] == alone.negatives
    assert epic_triplets(pairs, "both", 20, seed=4).negatives != both.negatives


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=8),
    min_distance=st.integers(1, 12),
    known=st.booleans(),
    repeat=st.integers(0, 5),
    missing=st.sets(st.integers(0, 60), max_size=10),
    seed=st.integers(0, 9),
)
def test_every_row_keeps_the_rules(sizes, min_distance, known, repeat, missing, seed):
    pairs = story(sizes if known else None, rows=sum(sizes), repeat=repeat)
    pairs = [pair for pair in pairs if pair.row not in missing]  # what filters leave
    by_english = {pair.english: number for number, pair in enumerate(pairs)}
    positives = defaultdict(set)
    following = {
        number
        for number, (one, next_one) in enumerate(pairwise(pairs))
        if next_one.row == one.row + 1
        and one.chapter == next_one.chapter
        and one.sanskrit != next_one.sanskrit
    }
    for number in following:
        positives[pairs[number].sanskrit].add(pairs[number + 1].sanskrit)

    def candidates(number: int, refused: set[str], side: str) -> bool:
        return any(
            abs(other - number) >= min_distance
            and not (known and pair.chapter == pairs[number].chapter)
            and pair.sanskrit != pairs[number].sanskrit
            and getattr(pair, side) not in refused
            for other, pair in enumerate(pairs)
        )

    possible = (
        len(pairs) >= 2 * min_distance
        and all(candidates(number, set(), "english") for number in range(len(pairs)))
        and all(candidates(n, positives[pairs[n].sanskrit], "sanskrit") for n in following)
    )
    if not possible:
        with pytest.raises(CftError, match=r"leave no hard negative|has no hard negative"):
            epic_triplets(pairs, "both", min_distance, seed)
        return
    triplets = epic_triplets(pairs, "both", min_distance, seed)
    rows = list(zip(triplets.anchor, triplets.positive, triplets.negatives, strict=True))
    cross, mono = rows[: len(pairs)], rows[len(pairs) :]
    for number, (anchor, positive, (negative,)) in enumerate(cross):
        assert (anchor, positive) == (pairs[number].sanskrit, pairs[number].english)
        other = by_english[negative]
        assert abs(other - number) >= min_distance
        assert pairs[other].sanskrit != anchor
        assert not known or pairs[other].chapter != pairs[number].chapter
    assert len(mono) == len(following)
    for number, (anchor, positive, (negative,)) in zip(sorted(following), mono, strict=True):
        assert (anchor, positive) == (pairs[number].sanskrit, pairs[number + 1].sanskrit)
        assert negative not in positives[anchor] | {anchor}
        assert any(
            abs(other - number) >= min_distance
            and (not known or pair.chapter != pairs[number].chapter)
            for other, pair in enumerate(pairs)
            if pair.sanskrit == negative
        )


def test_every_allowed_row_is_drawn_about_equally_often():
    pairs = story([4, 4, 4])
    counts: dict[str, int] = defaultdict(int)
    for seed in range(3000):
        counts[epic_triplets(pairs, "cross_lingual", 3, seed).negatives[5][0]] += 1
    # Row 5 stands in the second chapter: rows 0-2 and 8-11 are far enough and of another one.
    assert set(counts) == {f"en {row}" for row in (0, 1, 2, 8, 9, 10, 11)}
    assert max(counts.values()) < 1.25 * min(counts.values())


def test_a_corpus_that_is_too_small_or_of_one_chapter_is_refused():
    with pytest.raises(CftError, match=r"39 training rows .* distance 20 .* at least 40 rows"):
        epic_triplets(story(None, rows=39), "both", 20, 0)
    assert len(epic_triplets(story(None, rows=40), "cross_lingual", 20, 0)) == 40
    with pytest.raises(CftError, match=r"row 0 has no hard negative.*give more chapters"):
        epic_triplets(story([60]), "both", 20, 0)


if REAL.is_dir():

    def test_on_the_real_corpus_no_positive_crosses_a_chapter():
        corpus = load_itihasa(REAL, num_rows=4000)
        train = corpus.splits["train"]
        triplets = epic_triplets(train, "both", 100, 42)
        chapters = defaultdict(set)
        for pair in train:
            chapters[pair.sanskrit].add(pair.chapter)
            chapters[pair.english].add(pair.chapter)
        for anchor, positive in zip(triplets.anchor, triplets.positive, strict=True):
            assert chapters[anchor] & chapters[positive]
        # The rule of the original system would have made a pair of every two rows.
        assert len(train) * 2 - 1 - len(triplets) >= len(set().union(*chapters.values())) - 1
