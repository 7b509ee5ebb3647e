"""Declension against the paradigm tables of the school grammars, cell by cell, in Devanagari."""

import pytest

from cft.corpora.synthetic.declension import (
    CASES,
    NUMBERS,
    decline,
    decline_pronoun,
    feminine,
    retroflex,
)
from cft.corpora.synthetic.lexicon import ADJECTIVES, NOUNS
from cft.corpora.synthetic.script import to_devanagari
from cft.errors import CftError

# nominative, accusative, instrumental, dative, ablative, genitive, locative, vocative
PARADIGMS = {
    ("rAma", "m"): """
        रामः रामौ रामाः
        रामम् रामौ रामान्
        रामेण रामाभ्याम् रामैः
        रामाय रामाभ्याम् रामेभ्यः
        रामात् रामाभ्याम् रामेभ्यः
        रामस्य रामयोः रामाणाम्
        रामे रामयोः रामेषु
        राम रामौ रामाः""",
    ("Pala", "n"): """
        फलम् फले फलानि
        फलम् फले फलानि
        फलेन फलाभ्याम् फलैः
        फलाय फलाभ्याम् फलेभ्यः
        फलात् फलाभ्याम् फलेभ्यः
        फलस्य फलयोः फलानाम्
        फले फलयोः फलेषु
        फल फले फलानि""",
    ("latA", "f"): """
        लता लते लताः
        लताम् लते लताः
        लतया लताभ्याम् लताभिः
        लतायै लताभ्याम् लताभ्यः
        लतायाः लताभ्याम् लताभ्यः
        लतायाः लतयोः लतानाम्
        लतायाम् लतयोः लतासु
        लते लते लताः""",
    ("muni", "m"): """
        मुनिः मुनी मुनयः
        मुनिम् मुनी मुनीन्
        मुनिना मुनिभ्याम् मुनिभिः
        मुनये मुनिभ्याम् मुनिभ्यः
        मुनेः मुनिभ्याम् मुनिभ्यः
        मुनेः मुन्योः मुनीनाम्
        मुनौ मुन्योः मुनिषु
        मुने मुनी मुनयः""",
    ("mati", "f"): """
        मतिः मती मतयः
        मतिम् मती मतीः
        मत्या मतिभ्याम् मतिभिः
        मत्यै मतिभ्याम् मतिभ्यः
        मत्याः मतिभ्याम् मतिभ्यः
        मत्याः मत्योः मतीनाम्
        मत्याम् मत्योः मतिषु
        मते मती मतयः""",
    ("nadI", "f"): """
        नदी नद्यौ नद्यः
        नदीम् नद्यौ नदीः
        नद्या नदीभ्याम् नदीभिः
        नद्यै नदीभ्याम् नदीभ्यः
        नद्याः नदीभ्याम् नदीभ्यः
        नद्याः नद्योः नदीनाम्
        नद्याम् नद्योः नदीषु
        नदि नद्यौ नद्यः""",
    ("guru", "m"): """
        गुरुः गुरू गुरवः
        गुरुम् गुरू गुरून्
        गुरुणा गुरुभ्याम् गुरुभिः
        गुरवे गुरुभ्याम् गुरुभ्यः
        गुरोः गुरुभ्याम् गुरुभ्यः
        गुरोः गुर्वोः गुरूणाम्
        गुरौ गुर्वोः गुरुषु
        गुरो गुरू गुरवः""",
}
PRONOUNS = {
    ("ta", "m"): """
        सः तौ ते
        तम् तौ तान्
        तेन ताभ्याम् तैः
        तस्मै ताभ्याम् तेभ्यः
        तस्मात् ताभ्याम् तेभ्यः
        तस्य तयोः तेषाम्
        तस्मिन् तयोः तेषु""",
    ("ta", "f"): """
        सा ते ताः
        ताम् ते ताः
        तया ताभ्याम् ताभिः
        तस्यै ताभ्याम् ताभ्यः
        तस्याः ताभ्याम् ताभ्यः
        तस्याः तयोः तासाम्
        तस्याम् तयोः तासु""",
    ("ta", "n"): """
        तत् ते तानि
        तत् ते तानि
        तेन ताभ्याम् तैः
        तस्मै ताभ्याम् तेभ्यः
        तस्मात् ताभ्याम् तेभ्यः
        तस्य तयोः तेषाम्
        तस्मिन् तयोः तेषु""",
    ("ya", "n"): """
        यत् ये यानि
        यत् ये यानि
        येन याभ्याम् यैः
        यस्मै याभ्याम् येभ्यः
        यस्मात् याभ्याम् येभ्यः
        यस्य ययोः येषाम्
        यस्मिन् ययोः येषु""",
    ("sarva", "m"): """
        सर्वः सर्वौ सर्वे
        सर्वम् सर्वौ सर्वान्
        सर्वेण सर्वाभ्याम् सर्वैः
        सर्वस्मै सर्वाभ्याम् सर्वेभ्यः
        सर्वस्मात् सर्वाभ्याम् सर्वेभ्यः
        सर्वस्य सर्वयोः सर्वेषाम्
        सर्वस्मिन् सर्वयोः सर्वेषु""",
}


def cells(table: str) -> dict[tuple[str, str], str]:
    rows = [line.split() for line in table.split("\n") if line.strip()]
    return {
        (case, number): form
        for case, row in zip(CASES, rows, strict=False)
        for number, form in zip(NUMBERS, row, strict=True)
    }


@pytest.mark.parametrize("word", PARADIGMS, ids="-".join)
def test_noun_paradigm(word: tuple[str, str]) -> None:
    expected = cells(PARADIGMS[word])
    assert len(expected) == 24
    made = {cell: to_devanagari(decline(*word, *cell)) for cell in expected}
    assert made == expected


@pytest.mark.parametrize("word", PRONOUNS, ids="-".join)
def test_pronoun_paradigm(word: tuple[str, str]) -> None:
    expected = cells(PRONOUNS[word])
    assert len(expected) == 21
    made = {cell: to_devanagari(decline_pronoun(*word, *cell)) for cell in expected}
    assert made == expected


@pytest.mark.parametrize(
    ("stem", "gender", "case", "number", "form"),
    [
        ("rAma", "m", "ins", "sg", "rAmeRa"),
        ("rAma", "m", "gen", "pl", "rAmARAm"),
        ("rAma", "m", "acc", "pl", "rAmAn"),  # a final n stays
        ("jana", "m", "ins", "sg", "janena"),
        ("raTa", "m", "ins", "sg", "raTena"),  # th stands between
        ("arjuna", "m", "ins", "sg", "arjunena"),
        ("brAhmaRa", "m", "ins", "sg", "brAhmaRena"),  # ṇ stands between
        ("karRa", "m", "ins", "sg", "karRena"),
        ("puzpa", "n", "nom", "pl", "puzpARi"),
        ("patra", "n", "nom", "pl", "patrARi"),
        ("gfha", "n", "ins", "sg", "gfheRa"),
        ("nfpa", "m", "ins", "sg", "nfpeRa"),
        ("kzatriya", "m", "gen", "pl", "kzatriyARAm"),
        ("mfga", "m", "gen", "pl", "mfgARAm"),
        ("mArga", "m", "ins", "sg", "mArgeRa"),
        ("nagara", "n", "nom", "pl", "nagarARi"),
        ("sUrya", "m", "ins", "sg", "sUryeRa"),
        ("ratna", "n", "nom", "pl", "ratnAni"),  # t stands between
        ("fzi", "m", "ins", "sg", "fziRA"),
        ("ari", "m", "gen", "pl", "arIRAm"),
        ("giri", "m", "ins", "sg", "giriRA"),
        ("maRi", "m", "ins", "sg", "maRinA"),
        ("agni", "m", "ins", "sg", "agninA"),
        ("sAraTi", "m", "ins", "sg", "sAraTinA"),
        ("rAtri", "f", "gen", "pl", "rAtrIRAm"),
        ("nArI", "f", "gen", "pl", "nArIRAm"),
        ("BAryA", "f", "gen", "pl", "BAryARAm"),
        ("kanyA", "f", "gen", "pl", "kanyAnAm"),
        ("kIrti", "f", "gen", "pl", "kIrtInAm"),
    ],
)
def test_retroflexion(stem: str, gender: str, case: str, number: str, form: str) -> None:
    assert decline(stem, gender, case, number) == form


def test_retroflexion_reaches_over_gutturals_labials_y_v_h_and_anusvara_only() -> None:
    for between in ["k", "K", "g", "G", "N", "p", "P", "b", "B", "m", "y", "v", "h", "aM"]:
        assert retroflex(f"ra{between}", "ena").endswith("eRa"), between
    for between in ["c", "j", "t", "T", "d", "D", "w", "q", "R", "l", "S", "s"]:
        assert retroflex(f"ra{between}", "ena").endswith("ena"), between


def test_every_noun_and_adjective_of_the_lexicon_declines() -> None:
    for word in NOUNS:
        forms = {word.form(case, number) for case in CASES for number in NUMBERS}
        assert len(forms) >= 13, word.stem
        assert all(to_devanagari(form) for form in forms)
    for adjective in ADJECTIVES:
        for gender in "mfn":
            for case in CASES[:-1]:
                for number in NUMBERS:
                    assert to_devanagari(adjective.form(gender, case, number))


def test_feminine_stems() -> None:
    assert feminine("viSAla") == "viSAlA"
    assert feminine("sundara", long_i=True) == "sundarI"
    by_stem = {word.stem: word for word in ADJECTIVES}
    assert by_stem["taruRa"].form("f", "nom", "sg") == "taruRI"
    assert by_stem["vfdDa"].form("f", "ins", "sg") == "vfdDayA"
    assert by_stem["sarva"].form("m", "nom", "pl") == "sarve"


def test_what_has_no_paradigm_is_refused() -> None:
    with pytest.raises(CftError, match="no paradigm for 'n m'"):
        decline("rAjan", "m", "nom", "sg")
    with pytest.raises(CftError, match="vocative"):
        decline_pronoun("ta", "m", "voc", "sg")
