"""Stage-2 triplets: the four strategies, on a small corpus and on the real one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cft.corpora.base import VersePair
from cft.corpora.vbt import load_vbt
from cft.errors import CftError
from cft.triplets.base import TextIds, Triplets, concatenated, require_no_collision
from cft.triplets.groups import components
from cft.triplets.vbt import domains_of, verse_triplets

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "vbt" / "vbt.json"

VERSES = [VersePair(f"श्लोकः {n}", f"verse {n}", None, n) for n in range(8)]
EPIC = [VersePair(f"कथा {n}", f"tale {n}", None, n) for n in range(40)]
SA = [verse.sanskrit for verse in VERSES]
EN = [verse.english for verse in VERSES]
PAIRS = [(SA[0], SA[1]), (SA[1], SA[2]), (SA[4], SA[5]), (SA[6], EN[6]), (SA[7], "a free text")]


def made(strategies: str, n_negs: int = 3, seed: int = 0, pairs=PAIRS) -> Triplets:
    return verse_triplets(VERSES, pairs, EPIC, list(strategies), n_negs, seed)[0]


def test_counts_of_each_strategy():
    triplets, counts = verse_triplets(VERSES, PAIRS, EPIC, ["A", "B", "C", "D"], 3, 0)
    assert counts == triplets.kinds() == {"A": 15, "B": 1, "C": 8, "D": 8}


def test_a_pair_gets_as_many_different_negatives_as_asked_for():
    triplets = made("A", n_negs=5)
    for pair in PAIRS:
        rows = [row for row in range(len(triplets)) if triplets.anchor[row] == pair[0]]
        rows = [row for row in rows if triplets.positive[row] == pair[1]]
        assert len(rows) == len({triplets.negatives[row] for row in rows}) == 5


def test_negatives_are_epic_texts_in_the_language_of_the_positive():
    triplets = made("ABCD")
    sanskrit = {pair.sanskrit for pair in EPIC}
    english = {pair.english for pair in EPIC}
    for positive, (negative,) in zip(triplets.positive, triplets.negatives, strict=True):
        assert negative in (sanskrit if positive in SA else english)


def test_b_adds_the_pairs_of_a_domain_that_a_lacks():
    triplets = made("B")
    assert list(zip(triplets.anchor, triplets.positive, strict=True)) == [(SA[0], SA[2])]
    reversed_pair = [*PAIRS, (SA[2], SA[0])]
    assert made("BC", pairs=reversed_pair).kinds() == {"C": 8}


def test_c_and_d_are_the_two_directions():
    to_english, to_sanskrit = made("C"), made("D")
    assert (to_english.anchor, to_english.positive) == (SA, EN)
    assert (to_sanskrit.anchor, to_sanskrit.positive) == (EN, SA)


def test_repeats_are_judged_on_the_whole_triplet():
    twice = made("A", pairs=[PAIRS[0], PAIRS[0]], n_negs=20)
    rows = set(zip(twice.anchor, twice.positive, twice.negatives, strict=True))
    assert len(rows) == len(twice) < 40  # two draws of 20 out of 40 share some
    assert len(rows) > 20


def test_a_strategy_draws_the_same_whatever_else_is_asked_for():
    alone, together = made("D"), made("ABCD")
    assert together.negatives[-8:] == alone.negatives
    assert made("D", seed=1).negatives != alone.negatives


def test_texts_of_the_verse_corpus_are_never_negatives():
    epic = [*EPIC[:3], VersePair(SA[3], EN[3], None, 3)]
    triplets, _ = verse_triplets(VERSES, PAIRS, epic, ["C", "D"], 1, 0)
    assert not {text for (text,) in triplets.negatives} & {SA[3], EN[3]}


def test_refusals():
    with pytest.raises(CftError, match=r"strategy A: 41 different negatives .* has 40 usable"):
        made("A", n_negs=41)
    with pytest.raises(CftError, match="strategies B give no row from 8 verses and 0"):
        made("B", pairs=[])


@given(
    st.integers(1, 20).flatmap(
        lambda size: st.tuples(
            st.just(size),
            st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=25),
        )
    )
)
def test_components_are_what_a_search_reaches(drawn):
    size, links = drawn
    neighbours = {node: {node} for node in range(size)}
    for a, b in links:
        neighbours[a].add(b)
        neighbours[b].add(a)
    expected = []
    for node in range(size):
        reached, frontier = {node}, [node]
        while frontier:
            new = neighbours[frontier.pop()] - reached
            reached |= new
            frontier += new
        expected.append(min(reached))
    assert components(size, links).tolist() == expected


def test_domains():
    domains = domains_of(VERSES, PAIRS)
    assert domains.members == [[0, 1, 2], [4, 5]]
    assert domains.unpaired == 3


def test_rows_of_unequal_width_or_length_are_refused():
    with pytest.raises(CftError, match=r"rows with \[1, 2\] hard negatives; give every row"):
        Triplets(["a", "b"], ["c", "d"], [("e",), ("f", "g")], ["A", "A"])
    with pytest.raises(CftError, match=r"columns of \[1, 2\] rows"):
        Triplets(["a", "b"], ["c"], [("e",)], ["A"])
    assert len(concatenated([])) == 0


def test_ids_of_columns_and_a_collision():
    triplets = Triplets(["a"], ["b"], [("c", "a")], ["A"])
    ids = TextIds(triplets.texts())
    anchor_N, positive_N, negative_NK = ids.columns(triplets)
    assert negative_NK.shape == (1, 2)
    assert negative_NK[0, 1] == anchor_N[0] != positive_N[0]
    require_no_collision(["a", " a "], ids.of(["a", "a"]))  # one text, spelt twice
    with pytest.raises(CftError, match="shared by 'a' and 'b'; change one"):
        require_no_collision(["a", "b"], ids.of(["a", "a"]))


if REAL.is_file():

    def test_the_whole_real_corpus_gives_the_published_number():
        corpus = load_vbt(REAL)
        triplets, counts = verse_triplets(
            corpus.verses, corpus.similarity_pairs, EPIC, ["A", "B", "C", "D"], 3, 42
        )
        # Deduplication on (anchor, positive) alone would leave 411 of the 541.
        assert counts == {"A": 177, "B": 28, "C": 168, "D": 168}
        assert len(triplets) == 541
        assert len(set(zip(triplets.anchor, triplets.positive, strict=True))) == 411
        domains = domains_of(corpus.verses, corpus.similarity_pairs)
        assert (len(domains.members), domains.unpaired) == (29, 92)
