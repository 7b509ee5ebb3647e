"""Present and imperfect against the paradigms; augment and preverbs."""

import pytest

from cft.corpora.synthetic.conjugation import augmented, conjugate, with_preverb
from cft.corpora.synthetic.lexicon import DOCTRINE_VERBS, VERBS
from cft.corpora.synthetic.script import to_devanagari
from cft.errors import CftError

# persons 3, 2, 1 in lines; singular, dual, plural
PARADIGMS = {
    ("Bava", "parasmaipada", "present"): """
        भवति भवतः भवन्ति
        भवसि भवथः भवथ
        भवामि भवावः भवामः""",
    ("Bava", "parasmaipada", "imperfect"): """
        अभवत् अभवताम् अभवन्
        अभवः अभवतम् अभवत
        अभवम् अभवाव अभवाम""",
    ("laBa", "atmanepada", "present"): """
        लभते लभेते लभन्ते
        लभसे लभेथे लभध्वे
        लभे लभावहे लभामहे""",
    ("laBa", "atmanepada", "imperfect"): """
        अलभत अलभेताम् अलभन्त
        अलभथाः अलभेथाम् अलभध्वम्
        अलभे अलभावहि अलभामहि""",
    ("nftya", "parasmaipada", "imperfect"): """
        अनृत्यत् अनृत्यताम् अनृत्यन्
        अनृत्यः अनृत्यतम् अनृत्यत
        अनृत्यम् अनृत्याव अनृत्याम""",
    ("kaTaya", "parasmaipada", "present"): """
        कथयति कथयतः कथयन्ति
        कथयसि कथयथः कथयथ
        कथयामि कथयावः कथयामः""",
}


@pytest.mark.parametrize("key", PARADIGMS, ids="-".join)
def test_paradigm(key: tuple[str, str, str]) -> None:
    stem, voice, tense = key
    rows = [line.split() for line in PARADIGMS[key].split("\n") if line.strip()]
    made = [
        [
            to_devanagari(conjugate(stem, (), voice, tense, person, number))
            for number in ("sg", "du", "pl")
        ]
        for person in (3, 2, 1)
    ]
    assert made == rows


@pytest.mark.parametrize(
    ("stem", "preverbs", "present", "imperfect"),
    [
        ("gacCa", (), "gacCati", "agacCat"),
        ("icCa", (), "icCati", "EcCat"),
        ("arca", (), "arcati", "Arcat"),
        ("gacCa", ("A",), "AgacCati", "AgacCat"),
        ("gacCa", ("prati", "A"), "pratyAgacCati", "pratyAgacCat"),
        ("gacCa", ("anu",), "anugacCati", "anvagacCat"),
        ("gacCa", ("upa",), "upagacCati", "upAgacCat"),
        ("gacCa", ("ava",), "avagacCati", "avAgacCat"),
        ("gacCa", ("aDi",), "aDigacCati", "aDyagacCat"),
        ("gacCa", ("ud",), "udgacCati", "udagacCat"),
        ("gacCa", ("nis",), "nirgacCati", "niragacCat"),
        ("gacCa", ("sam",), "saMgacCati", "samagacCat"),
        ("tizWa", ("ud",), "uttizWati", "udatizWat"),
        ("pata", ("ud",), "utpatati", "udapatat"),
        ("viSa", ("pra",), "praviSati", "prAviSat"),
        ("viSa", ("upa",), "upaviSati", "upAviSat"),
        ("Rama", ("pra",), "praRamati", "prARamat"),
        ("ezaya", ("pra",), "prezayati", "prEzayat"),
        ("lapa", ("vi",), "vilapati", "vyalapat"),
        ("izya", ("anu",), "anvizyati", "anvEzyat"),
        ("nanda", ("aBi",), "aBinandati", "aByanandat"),
        ("karRaya", ("A",), "AkarRayati", "AkarRayat"),
    ],
)
def test_augment_stands_between_preverb_and_stem(
    stem: str, preverbs: tuple[str, ...], present: str, imperfect: str
) -> None:
    assert conjugate(stem, preverbs, "parasmaipada", "present", 3, "sg") == present
    assert conjugate(stem, preverbs, "parasmaipada", "imperfect", 3, "sg") == imperfect


def test_atmanepada_with_preverbs() -> None:
    assert conjugate("varta", ("ni",), "atmanepada", "imperfect", 3, "sg") == "nyavartata"
    assert conjugate("Ikza", ("prati",), "atmanepada", "present", 3, "sg") == "pratIkzate"
    assert conjugate("Ikza", ("prati",), "atmanepada", "imperfect", 3, "pl") == "pratyEkzanta"
    assert conjugate("rAja", ("vi",), "atmanepada", "imperfect", 3, "sg") == "vyarAjata"
    assert conjugate("kASa", ("pra",), "atmanepada", "imperfect", 3, "du") == "prAkASetAm"


def test_augment_alone() -> None:
    assert augmented("pibat") == "apibat"
    assert augmented("CAdayat") == "acCAdayat"
    assert augmented("fcCat") == "ArcCat"
    assert augmented("ukzat") == "Okzat"


def test_preverbs_meet_vowels() -> None:
    assert with_preverb("pra", "icCati") == "precCati"
    assert with_preverb("upa", "Ekzata") == "upEkzata"
    assert with_preverb("pari", "Ikzate") == "parIkzate"
    assert with_preverb("vi", "CAdayati") == "vicCAdayati"


def test_the_lexicons_verbs_have_eighteen_distinct_forms() -> None:
    for verb in (*VERBS, *DOCTRINE_VERBS):
        forms = {
            to_devanagari(verb.form(tense, person, number))
            for tense in ("present", "imperfect")
            for person in (1, 2, 3)
            for number in ("sg", "du", "pl")
        }
        # With the preverb ā only the endings tell the tenses apart; all forms still differ.
        assert len(forms) == 18, verb.stem


def test_what_is_not_thematic_is_refused() -> None:
    with pytest.raises(CftError, match="not a thematic stem"):
        conjugate("ad", (), "parasmaipada", "present", 3, "sg")
    with pytest.raises(CftError, match="no rule"):
        with_preverb("nis", "pata")
