"""The Spanda Karika scans: eight syllables a quarter, with the cadences of the anustubh."""

import pytest

from cft.corpora.trika import load_trika
from tests.prosody import scan, weights

VERSES = load_trika().verses["spanda_karika"]
ANUSTUBH = {verse_id: verse for verse_id, verse in VERSES.items() if verse_id != "SK_53"}

# Odd quarters whose syllables five to seven are not short, long, long, by verse and half.
VIPULAS = {
    ("SK_1", 1): "...",
    ("SK_4", 1): "---",
    ("SK_17", 0): "-..",
    ("SK_19", 1): "-..",
    ("SK_24", 1): "-..",
    ("SK_45", 1): "...",
    ("SK_52", 1): "-..",
}


def halves(verse_id: str) -> list[str]:
    return VERSES[verse_id].sanskrit.removesuffix("॥").split("। ")


@pytest.mark.parametrize(
    ("line", "picture"),
    [
        ("रामः", "--"),
        ("वन", ".."),
        ("वनम्", ".-"),
        ("पुत्र", "-."),
        ("न प्रभवति", "-...."),  # a cluster makes the syllable before it long across a space
        ("सोऽहम्", "--"),
        ("दुःखं ऋषिः", "--.-"),
        ("तस्मिँल्लुप्ते", "----"),
        ("धर्मक्षेत्रे कुरुक्षेत्रे समवेता युयुत्सवः", "----.---..--.-.-"),
    ],
)
def test_syllables_are_weighed(line: str, picture: str):
    assert scan(line) == picture


def test_what_is_no_sound_is_refused():
    with pytest.raises(ValueError, match="no sound"):
        weights("राम 2")


@pytest.mark.parametrize("verse_id", ANUSTUBH)
def test_a_verse_has_four_quarters_of_eight_with_their_cadences(verse_id: str):
    assert len(halves(verse_id)) == 2
    for half, line in enumerate(halves(verse_id)):
        picture = scan(line)
        assert len(picture) == 16, picture
        odd, even = picture[:8], picture[8:]
        assert even[4:7] == ".-.", picture
        assert odd[4:7] == VIPULAS.get((verse_id, half), ".--"), picture
        # Syllables two and three are never both short.
        assert ".." not in (odd[1:3], even[1:3]), picture


def test_the_last_verse_is_an_arya():
    first, second = (weights(line) for line in halves("SK_53"))
    second[-1] = 2  # the last syllable of a line counts as long
    assert (sum(first), sum(second)) == (30, 27)
    for line, feet in ((first, [4] * 7 + [2]), (second, [4] * 5 + [1, 4, 2])):
        ends = [sum(feet[: foot + 1]) for foot in range(len(feet))]
        reached = {sum(line[: syllable + 1]) for syllable in range(len(line))}
        assert set(ends) <= reached  # no syllable straddles two feet


def test_a_dropped_vowel_length_or_syllable_is_noticed():
    line = halves("SK_5")[0]
    assert len(scan(line.replace("यत्र", "यत्"))) == 15
    assert scan(line.replace("ग्राहकं", "ग्रहकं")) != scan(line)
