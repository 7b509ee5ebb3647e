"""SLP1 to Devanagari."""

import unicodedata

import pytest

from cft.corpora.synthetic.script import CONSONANTS, VOWELS, to_devanagari
from cft.errors import CftError


@pytest.mark.parametrize(
    ("slp1", "devanagari"),
    [
        ("rAmaH", "रामः"),
        ("sItA", "सीता"),
        ("kfzRaH", "कृष्णः"),
        ("lakzmaRaH", "लक्ष्मणः"),
        ("yuDizWiraH", "युधिष्ठिरः"),
        ("jYAnam", "ज्ञानम्"),
        ("agacCat", "अगच्छत्"),
        ("EcCat", "ऐच्छत्"),
        ("fziH", "ऋषिः"),
        ("IkzaRam", "ईक्षणम्"),
        ("udyAnam", "उद्यानम्"),
        ("UrmilA", "ऊर्मिला"),
        ("ozaDiH", "ओषधिः"),
        ("OzaDam", "औषधम्"),
        ("ekaH", "एकः"),
        ("AtmA", "आत्मा"),
        ("iti", "इति"),
        ("siMhaH", "सिंहः"),
        ("duHKam", "दुःखम्"),
        ("SaNKaH", "शङ्खः"),
        ("saYjayaH", "सञ्जयः"),
        ("kArtsnyam", "कार्त्स्न्यम्"),
        ("vAk", "वाक्"),
        ("pitFn", "पितॄन्"),
        ("kxptaH", "कॢप्तः"),
        ("so'pi", "सोऽपि"),
        ("tA~S ca", "ताँश् च"),
        ("vqqQ", "व्ड्ड्ढ्"),
        ("rAmaH gacCati। saH hasati॥", "रामः गच्छति। सः हसति॥"),
    ],
)
def test_words(slp1: str, devanagari: str) -> None:
    assert to_devanagari(slp1) == devanagari


def test_every_syllable_is_one_consonant_and_one_sign() -> None:
    for consonant in CONSONANTS:
        bare = to_devanagari(consonant + "a")
        assert len(bare) == 1
        assert unicodedata.name(bare).startswith("DEVANAGARI LETTER ")
        for vowel in VOWELS - {"a"}:
            syllable = to_devanagari(consonant + vowel)
            assert syllable[0] == bare
            # The vowel sign has the name of the independent vowel.
            sign = unicodedata.name(syllable[1]).removeprefix("DEVANAGARI VOWEL SIGN ")
            letter = unicodedata.name(to_devanagari(vowel)).removeprefix("DEVANAGARI LETTER ")
            assert sign == letter
            assert len(syllable) == 2


def test_every_letter_is_distinct() -> None:
    assert len({to_devanagari(c + "a") for c in CONSONANTS}) == len(CONSONANTS) == 33
    assert len({to_devanagari(v) for v in VOWELS}) == len(VOWELS) == 14


@pytest.mark.parametrize("wrong", ["ram!", "Hari", "kM", "réma"])
def test_what_is_not_slp1_is_refused(wrong: str) -> None:
    with pytest.raises(CftError, match=r"SLP1 text .* character \d"):
        to_devanagari(wrong)
