"""The embedded Trika corpus: complete, spelt as it should be, annotated over the whole scale."""

import re
import unicodedata
from collections import Counter
from itertools import combinations

import pytest

from cft.corpora.evalset import EvalSet
from cft.corpora.trika import load_trika
from cft.errors import CftError
from cft.text import normalise, wording_ids
from cft.triplets.leaks import GuardedSet, guarded_sets, require_no_leak

CORPUS = load_trika()
SUTRAS, KARIKAS = CORPUS.verses["siva_sutra"], CORPUS.verses["spanda_karika"]
ALL = SUTRAS | KARIKAS
TEXTS = CORPUS.texts
REPEATED = ("SS_1_2", "SS_3_2")  # the received text has this sutra twice


def is_english(text_id: str) -> bool:
    return text_id.endswith("_EN")


def level(score: float) -> int:
    return int(score + 0.5)


def grams(text: str) -> set[str]:
    """Runs of four letters inside the words, so that inflection and sandhi hide less."""
    words = re.findall("[a-z\u0900-\u0963]+", text.lower())
    return {word[at : at + 4] for word in words for at in range(max(1, len(word) - 3))}


def test_numbering_is_complete():
    sutras = [
        f"SS_{part}_{n + 1}" for part, size in ((1, 22), (2, 10), (3, 45)) for n in range(size)
    ]
    assert list(SUTRAS) == sutras
    assert len(SUTRAS) == 77
    assert list(KARIKAS) == [f"SK_{n + 1}" for n in range(53)]
    assert [verse.chapter for verse in SUTRAS.values()] == [one.split("_")[1] for one in SUTRAS]
    assert Counter(verse.chapter for verse in KARIKAS.values()) == {
        "1": 25,
        "2": 7,
        "3": 19,
        "4": 2,
    }
    for verses in (SUTRAS, KARIKAS):
        assert [verse.row for verse in verses.values()] == list(range(len(verses)))


@pytest.mark.parametrize("verse_id", ALL)
def test_sanskrit_is_devanagari_in_normal_form(verse_id: str):
    text = ALL[verse_id].sanskrit
    assert text == normalise(text) == unicodedata.normalize("NFC", text)
    assert re.fullmatch("[\u0901-\u0963। ॥]+", text)
    if verse_id in KARIKAS:
        assert re.fullmatch("[^।॥]+। [^।॥]+॥", text)
    else:
        assert not re.search("[।॥]", text)


@pytest.mark.parametrize("verse_id", ALL)
def test_english_is_latin_and_no_verse_is_left_untranslated(verse_id: str):
    text = ALL[verse_id].english
    assert text == normalise(text)
    assert text.isascii()
    assert text[0].isupper() or verse_id in ("SK_34", "SK_37") or text[0] == '"'
    assert re.search(r'[.?,]"?$', text)


@pytest.mark.parametrize("verse_id", ALL)
def test_sandhi_and_nasals_are_written_as_in_editions(verse_id: str):
    text = ALL[verse_id].sanskrit
    assert not re.search("ं[क-म]", text), "a class nasal before a stop inside a word"
    assert not re.search("ं([।॥]|$)", text), "m before a pause"
    assert not re.search("[ोे] अ", text), "avagraha for an elided a"
    assert not re.search("ः [ग-ङज-ञड-णद-नब-वहअ-औ]", text), "visarga before a voiced sound"
    assert not re.search("् ", text), "a final consonant is joined to the next word"
    hiatus = re.search("[क-हा-ौ] [अ-औ]", text)
    assert bool(hiatus) == (verse_id in ("SS_1_17", "SS_3_9", "SK_11")), "from -aḥ"
    assert all(sign in "ोे" for sign in re.findall("(.)ऽ", text)) or verse_id in (
        "SS_1_16",
        "SS_3_18",
    )


def test_only_the_received_repetition_repeats():
    for side in ("sanskrit", "english"):
        texts = Counter(getattr(verse, side) for verse in ALL.values())
        assert [text for text, times in texts.items() if times > 1] == [
            getattr(ALL[REPEATED[0]], side)
        ]
        assert getattr(ALL[REPEATED[0]], side) == getattr(ALL[REPEATED[1]], side)


def test_every_id_of_an_annotation_resolves():
    used = {one for pair in CORPUS.sts for one in (pair.a_id, pair.b_id)}
    used |= {
        one for row in CORPUS.triplets for one in (row.anchor_id, row.positive_id, row.negative_id)
    }
    assert used <= TEXTS.keys()
    assert {one.removesuffix("_EN") for one in used} == ALL.keys()  # no verse goes unused
    assert len(TEXTS) == 260


def test_scores_are_spread_over_the_scale_and_over_the_languages():
    assert len(CORPUS.sts) >= 200
    levels = Counter(level(pair.score) for pair in CORPUS.sts)
    assert set(levels) == set(range(6))
    assert min(levels.values()) >= 35
    cross = Counter(
        level(pair.score) for pair in CORPUS.sts if is_english(pair.a_id) != is_english(pair.b_id)
    )
    assert min(cross[one] for one in range(6)) >= 10
    for english in (False, True):
        same = Counter(
            level(pair.score)
            for pair in CORPUS.sts
            if is_english(pair.a_id) == is_english(pair.b_id) == english
        )
        assert min(same[one] for one in range(5)) >= 10
    parts = Counter("".join(sorted((pair.a_id[1], pair.b_id[1]))) for pair in CORPUS.sts)
    assert min(parts["SS"], parts["KK"], parts["KS"]) >= 60


def test_no_two_verses_are_graded_twice_and_none_with_itself():
    verses = [
        frozenset((pair.a_id.removesuffix("_EN"), pair.b_id.removesuffix("_EN")))
        for pair in CORPUS.sts
    ]
    assert len(set(verses)) == len(verses)
    for pair in CORPUS.sts:
        assert TEXTS[pair.a_id] != TEXTS[pair.b_id]
        own = pair.a_id.removesuffix("_EN") == pair.b_id.removesuffix("_EN")
        repeated = {pair.a_id, pair.b_id} == {"SS_3_2", "SS_1_2_EN"}
        assert (pair.score == 5) == (own or repeated)


def test_every_reason_is_its_own():
    reasons = [pair.reason for pair in CORPUS.sts]
    assert all(len(reason.split()) >= 4 and reason.endswith(".") for reason in reasons)
    words = [set(re.findall("[a-z]+", reason.lower())) for reason in reasons]
    assert max(len(a & b) / len(a | b) for a, b in combinations(words, 2)) < 0.5


def test_triplets_have_three_categories_in_their_languages():
    sizes = Counter(row.category for row in CORPUS.triplets)
    assert set(sizes) == {"mono", "cross_lingual", "hard"}
    assert min(sizes.values()) >= 20
    assert len({row.label for row in CORPUS.triplets}) == len(CORPUS.triplets)
    for row in CORPUS.triplets:
        texts = {TEXTS[one] for one in (row.anchor_id, row.positive_id, row.negative_id)}
        assert len(texts) == 3
        assert is_english(row.positive_id) == is_english(row.negative_id)
        crosses = is_english(row.anchor_id) != is_english(row.positive_id)
        assert crosses == (row.category == "cross_lingual")
        assert row.label


def test_a_hard_negative_shares_the_wording_of_the_anchor():
    for row in CORPUS.triplets:
        if row.category != "hard":
            continue
        anchor, positive, negative = (
            grams(TEXTS[one]) for one in (row.anchor_id, row.positive_id, row.negative_id)
        )
        close, far = anchor & positive, anchor & negative
        assert len(far) >= max(1, len(close)), row.label
        # And as a share of what both say, or a long text would win by its length.
        assert len(far) / (len(anchor) + len(negative)) >= len(close) / (
            len(anchor) + len(positive)
        ), row.label


def test_triplets_and_scores_agree():
    scores = {
        frozenset((pair.a_id.removesuffix("_EN"), pair.b_id.removesuffix("_EN"))): pair.score
        for pair in CORPUS.sts
    }
    compared = 0
    for row in CORPUS.triplets:
        anchor, positive, negative = (
            one.removesuffix("_EN") for one in (row.anchor_id, row.positive_id, row.negative_id)
        )
        near = scores.get(frozenset((anchor, positive)))
        far = scores.get(frozenset((anchor, negative)))
        if near is not None and anchor != positive:
            assert near >= 2, row.label
        if near is not None and far is not None:
            assert near > far, row.label
            compared += 1
    assert compared >= 8


def test_the_evaluation_set_holds_each_text_once_and_says_where_it_is_from(tmp_path):
    evalset = CORPUS.to_evalset()
    assert len(evalset.pairs) == 129
    assert evalset.sources["repeats"] == {REPEATED[1]: REPEATED[0]}
    for side in ("sanskrit", "english"):
        assert len({getattr(pair, side) for pair in evalset.pairs}) == 129
    for pair, place in zip(evalset.pairs, evalset.sources["verses"], strict=True):
        assert TEXTS[place["id"]] == pair.sanskrit
        assert TEXTS[place["id"] + "_EN"] == pair.english
        assert place["text"] == CORPUS.text_of(place["id"]) == CORPUS.text_of(place["id"] + "_EN")
    assert Counter(place["text"] for place in evalset.sources["verses"]) == {
        "siva_sutra": 76,
        "spanda_karika": 53,
    }
    assert "model-assisted" in evalset.sources["annotations"]
    assert set(evalset.sources["files"]) == {
        "siva_sutra.tsv",
        "spanda_karika.tsv",
        "similarity.tsv",
        "triplets.tsv",
    }
    assert [one.score for one in evalset.sts] == [pair.score for pair in CORPUS.sts]
    assert [one.category for one in evalset.triplets] == [row.category for row in CORPUS.triplets]
    evalset.save(tmp_path / "trika.json")
    assert EvalSet.load(tmp_path / "trika.json") == evalset


def test_the_leak_guard_knows_every_verse_on_both_sides():
    for guarded in ([GuardedSet.of(CORPUS.to_evalset())], guarded_sets(["trika"])):
        for text in TEXTS.values():
            column = wording_ids(["a verse of my own", f" {text}"])
            with pytest.raises(CftError, match="set trika: 1 training rows hold its texts"):
                require_no_leak(guarded, {"stage2.anchor": column})
        require_no_leak(guarded, {"stage2.anchor": wording_ids(["a verse of my own"])})
