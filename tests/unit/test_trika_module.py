"""A Trika module in the shape of the original system's is read as data and never run."""

from pathlib import Path

import pytest

from cft.corpora.literals import read_literals
from cft.corpora.trika import load_trika, read_trika_module
from cft.errors import CftError

MODULE = '''"""Held-out verses."""

# Numbered with dots, as some do.
SIVA_SUTRA = {
    "SS_1.1": "चैतन्यमात्मा",
    "SS_1.2":  "ज्ञानं  बन्धः",
    "SS_1.5": "उद्यमो भैरवः",
}
SIVA_SUTRA_EN: dict[str, str] = {
    "SS_1.5": "Bhairava is a rising up.",
    "SS_1.1": "To be aware is to be oneself.",
    "SS_1.2": "To know in part is to be bound.",
}
SPANDA_KARIKA = {
    "SK_5": "न दुःखं न सुखं यत्र न ग्राह्यं ग्राहकं न च / न चास्ति मूढभावोऽपि तदस्ति परमार्थतः",
}
SPANDA_KARIKA_EN = {"SK_5": "There is neither grief nor joy, "
                            "and that is what is."}
STS_PAIRS = [
    # --- near ---
    ("SS_1.1", "SK_5", 4.0, "what there is"),
    ("SS_1.2", "SS_1.5_EN", 0, "bound and rising"),
]
TRIPLETS = [
    ("one with its English", "SS_1.1", "SS_1.1_EN", "SK_5_EN", "cross_lingual"),
    ("near", "SS_1.1", "SK_5", "SS_1.2", "mono_sa"),
    ("hard", "SS_1.2", "SS_1.1", "SS_1.5", "hard"),
]


def lookup(verse_id: str) -> str:
    """Text of an id."""
    return {**SIVA_SUTRA, **SPANDA_KARIKA}[verse_id]
'''


def module(folder: Path, text: str = MODULE) -> Path:
    path = folder / "trika.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_module_gives_the_same_kind_of_corpus(tmp_path: Path):
    corpus = read_trika_module(module(tmp_path))
    assert {name: list(verses) for name, verses in corpus.verses.items()} == {
        "siva_sutra": ["SS_1.1", "SS_1.2", "SS_1.5"],
        "spanda_karika": ["SK_5"],
    }
    assert corpus.texts["SS_1.2"] == "ज्ञानं बन्धः"
    assert corpus.texts["SS_1.5_EN"] == "Bhairava is a rising up."
    assert corpus.texts["SK_5_EN"] == "There is neither grief nor joy, and that is what is."
    assert corpus.text_of("SS_1.5_EN") == "siva_sutra"
    assert list(corpus.source) == ["trika.py"]
    assert [(pair.a_id, pair.b_id, pair.score) for pair in corpus.sts] == [
        ("SS_1.1", "SK_5", 4.0),
        ("SS_1.2", "SS_1.5_EN", 0.0),
    ]
    assert [one.category for one in corpus.triplets] == ["cross_lingual", "mono", "hard"]


def test_its_evaluation_set_resolves_the_ids(tmp_path: Path):
    corpus = read_trika_module(module(tmp_path))
    evalset = corpus.to_evalset()
    assert evalset.name != load_trika().to_evalset().name  # tables tell the two apart
    assert [place["id"] for place in evalset.sources["verses"]] == [
        "SS_1.1", "SS_1.2", "SS_1.5", "SK_5",
    ]  # fmt: skip
    assert evalset.pairs[2].sanskrit == "उद्यमो भैरवः"
    assert evalset.pairs[2].english == "Bhairava is a rising up."
    assert evalset.sts[1].b == "Bhairava is a rising up."
    assert evalset.triplets[0].positive == "To be aware is to be oneself."
    assert evalset.triplets[0].negative == corpus.texts["SK_5_EN"]
    assert evalset.sources["repeats"] == {}


def test_a_repeated_translation_leaves_the_retrieval_pool_but_is_still_graded(tmp_path: Path):
    text = MODULE.replace("Bhairava is a rising up.", "To be aware is to be oneself.")
    evalset = read_trika_module(module(tmp_path, text)).to_evalset()
    assert evalset.sources["repeats"] == {"SS_1.5": "SS_1.1"}
    assert len(evalset.pairs) == 3
    assert evalset.sts[1].b == "To be aware is to be oneself."


def test_the_embedded_corpus_written_as_a_module_reads_back(tmp_path: Path):
    corpus = load_trika()
    lines = []
    for name, verses in corpus.verses.items():
        lines.append(f"{name.upper()} = { {one: verse.sanskrit for one, verse in verses.items()} }")
        lines.append(
            f"{name.upper()}_EN = { {one: verse.english for one, verse in verses.items()} }"
        )
    pairs = [(pair.a_id, pair.b_id, pair.score, pair.reason) for pair in corpus.sts]
    triplets = [
        (row.label, row.anchor_id, row.positive_id, row.negative_id, row.category)
        for row in corpus.triplets
    ]
    lines += [f"STS_PAIRS = {pairs}", f"TRIPLETS = {triplets}"]
    read = read_trika_module(module(tmp_path, "\n".join(lines)))
    assert read.texts == corpus.texts
    assert (read.sts, read.triplets) == (corpus.sts, corpus.triplets)
    assert read.to_evalset().pairs == corpus.to_evalset().pairs


@pytest.mark.parametrize(
    "code",
    [
        "import os",
        "open('{trap}', 'w')",
        "X = open('{trap}', 'w').name",
        "SIVA_SUTRA['SS_1.1'] = 'x'",
        "SIVA_SUTRA |= {}",
        "SIVA_SUTRA.clear()",
        "X = {**SIVA_SUTRA}",
        "X = [one for one in SIVA_SUTRA]",
        "X = SIVA_SUTRA['SS_1.1']",
        "del TRIPLETS",
        "class Corpus: pass",
        "async def lookup(): pass",
        "@open('{trap}', 'w').write\ndef lookup(): pass",
        "if True:\n    X = 1",
    ],
)
def test_whatever_is_neither_data_nor_a_function_is_refused_with_its_line(
    tmp_path: Path, code: str
):
    trap = tmp_path / "trap"
    path = module(tmp_path, MODULE + "\n\n" + code.replace("{trap}", str(trap)) + "\n")
    line = MODULE.count("\n") + 3 + code.startswith("@")  # a function's line is that of its def
    with pytest.raises(CftError, match=rf"trika\.py:{line}: ") as refused:
        read_trika_module(path)
    assert "\n" not in str(refused.value)
    assert not trap.exists()


def test_functions_are_passed_over_and_never_called(tmp_path: Path):
    trap = tmp_path / "trap"
    body = f"\n\ndef written(at=open({str(trap)!r}, 'w')):\n    open({str(trap)!r}, 'w')\n"
    read_trika_module(module(tmp_path, MODULE + body))
    assert not trap.exists()
    with pytest.raises(CftError, match="FunctionDef is not plain data"):
        read_literals(module(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("SIVA_SUTRA = {", "OTHER = {", "SIVA_SUTRA is not assigned; assign a dict"),
        ("STS_PAIRS = [", "OTHER = [", "STS_PAIRS is not assigned; assign a list"),
        ("SPANDA_KARIKA_EN = {", "SPANDA_KARIKA_EN = 3\nX = {", "KARIKA_EN: not a dict; assign"),
        ('"चैतन्यमात्मा"', "7", r"SIVA_SUTRA\['SS_1.1'\]: not a text by its id"),
        ('"चैतन्यमात्मा"', '"  "', r"SIVA_SUTRA\['SS_1.1'\]: empty text"),
        ('"SS_1.5": "उ', '"SS_1.6": "उ', r"SIVA_SUTRA: no entry 'SS_1.5'; give every verse both"),
        ('    "SS_1.1": "To be', '    "SS_9": "To be', "SIVA_SUTRA_EN: no entry 'SS_1.1'; give"),
        ('"SS_1.1": "चै', '"SS_1.1_EN": "चै', r"\['SS_1.1_EN'\]: an id of a verse ends in _EN"),
        ('"SK_5"', '"SS_1.1"', r"SPANDA_KARIKA\['SS_1.1'\]: SIVA_SUTRA has the same id"),
        ("4.0,", "5.5,", r"STS_PAIRS\[0\]: score 5.5 is not between 0 and 5"),
        ("4.0,", "-1,", r"STS_PAIRS\[0\]: score -1 is not between"),
        ("4.0,", "True,", r"STS_PAIRS\[0\]: not \(id, id, score, label\)"),
        (', 0, "bound and rising"', ', "bound"', r"STS_PAIRS\[1\]: not \(id, id, score, label\)"),
        ('"SS_1.5_EN", 0', '"SS_1.6_EN", 0', r"STS_PAIRS\[1\]: no verse has the id 'SS_1.6_EN'"),
        ('"SK_5_EN", "cross', '"SK_6_EN", "cross', r"TRIPLETS\[0\]: no verse has the id 'SK_6_EN'"),
        (', "mono_sa"', "", r"TRIPLETS\[1\]: not \(label, anchor id, positive id, negative id"),
        ('"hard")', '"")', r"TRIPLETS\[2\]: not \(label"),
    ],
)
def test_malformed_entries_are_named(tmp_path: Path, old: str, new: str, message: str):
    assert old in MODULE
    path = module(tmp_path, MODULE.replace(old, new))
    with pytest.raises(CftError, match=message) as refused:
        read_trika_module(path)
    assert str(refused.value).startswith(str(path))
    assert "; " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(CftError, match=r"trika\.py: no such file; name a Python module"):
        read_trika_module(tmp_path / "trika.py")
