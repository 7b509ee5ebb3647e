"""The small verse corpus: JSON and Python module give the same, and nothing is ever executed."""

import json
from pathlib import Path

import pytest

from cft.corpora.literals import MAX_DEPTH, read_literals
from cft.corpora.vbt import load_vbt
from cft.errors import CftError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "vbt" / "vbt.json"

MODULE = '''"""Verses."""
# a comment
VBT_CORPUS = [
    "प्रथमः  श्लोकः",
    "द्वितीयः "
    "श्लोकः",
    "तृतीयः श्लोकः",
]
VBT_TRANSLATIONS: list[str] = ["First verse", "Second verse", "Third verse"]
VBT_SIMILARITY_PAIRS = [
    (VBT_CORPUS[0], VBT_CORPUS[1]),
    (VBT_CORPUS[-1], VBT_TRANSLATIONS[2]),
]
VBT_DISSIMILARITY_PAIRS = [("a recipe for soup", VBT_CORPUS[0])]
VBT_RETRIEVAL_TEST_CASES = [("the second", [1])]
'''

JSON = {
    "verses": [
        {"sanskrit": "प्रथमः श्लोकः", "english": "First verse"},
        {"sanskrit": "द्वितीयः श्लोकः", "english": "Second verse"},
        {"sanskrit": "तृतीयः श्लोकः", "english": "Third verse"},
    ],
    "similarity_pairs": [[{"verse": 0}, {"verse": 1}], [{"verse": 2}, {"translation": 2}]],
    "dissimilarity_pairs": [[{"text": "a recipe for soup"}, {"verse": 0}]],
    "retrieval_cases": [{"query": "the second", "relevant_verses": [1]}],
}


def module(folder: Path, text: str = MODULE) -> Path:
    path = folder / "vbt_corpus.py"
    path.write_text(text, encoding="utf-8")
    return path


def as_json(folder: Path, value: object = JSON) -> Path:
    path = folder / "vbt.json"
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def test_module_and_json_give_the_same_corpus(tmp_path: Path):
    read, also = load_vbt(module(tmp_path)), load_vbt(as_json(tmp_path))
    assert read.verses == also.verses
    assert read.verses[1].sanskrit == "द्वितीयः श्लोकः"
    assert read.similarity_pairs == also.similarity_pairs
    assert read.similarity_pairs[1] == ("तृतीयः श्लोकः", "Third verse")
    assert read.dissimilarity_pairs == also.dissimilarity_pairs
    assert read.retrieval_cases == also.retrieval_cases == [("the second", [1])]
    assert read.graded_pairs == []


def test_a_folder_that_holds_the_module_will_do(tmp_path: Path):
    module(tmp_path)
    assert list(load_vbt(tmp_path).source) == ["vbt_corpus.py"]


def test_themes_become_chapters(tmp_path: Path):
    verses = [{**verse, "theme": "breath"} for verse in JSON["verses"]]
    assert load_vbt(as_json(tmp_path, {**JSON, "verses": verses})).verses[0].chapter == "breath"


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import os", 1),
        ("VBT_CORPUS = ['a']\nopen('{trap}', 'w')", 2),
        ("VBT_CORPUS = [\n  open('{trap}', 'w').name,\n]", 2),
        ("VBT_CORPUS = [chr(65)]", 1),
        ("VBT_CORPUS = ['a' + 'b']", 1),
        ("VBT_CORPUS = [f'{1}']", 1),
        ("VBT_CORPUS = [one for one in 'ab']", 1),
        ("VBT_CORPUS = ['a']\nVBT_CORPUS[0] = 'b'", 2),
        ("VBT_CORPUS = ['a']\nVBT_CORPUS += ['b']", 2),
        ("VBT_CORPUS = ['a']\nX = [VBT_CORPUS[0:1]]", 2),
        ("VBT_CORPUS = ['a']\nX = [VBT_CORPUS[0][0]]", 2),
        ("VBT_CORPUS = ['a']\nX = [VBT_CORPUS]", 2),
        ("VBT_CORPUS = ['a']\nX = [VBT_CORPUS['a']]", 2),
        ("A = B = ['a']", 1),
        ("A, B = ['a'], ['b']", 1),
        ("A = [*['a']]", 1),
        ("A = {{**{{}}}}", 1),
        ("A = {{len: 1}}", 1),
        ("A = b'bytes'", 1),
        ("A = not 1", 1),
        ("if True:\n  A = ['a']", 1),
        ("class A: pass", 1),
        ("def f(): pass", 1),
        ("A: list[str]", 1),
        ("A = [B[0]]", 1),
        ("A = (\n  'a',\n", 1),
    ],
)
def test_whatever_is_not_plain_data_is_refused_with_its_line(tmp_path: Path, code: str, line: int):
    trap = tmp_path / "trap"
    path = module(tmp_path, code.replace("{trap}", str(trap)).replace("{{", "{").replace("}}", "}"))
    with pytest.raises(CftError, match=rf"vbt_corpus\.py:{line}: ") as refused:
        load_vbt(path)
    assert "\n" not in str(refused.value)
    assert not trap.exists()


def test_an_index_out_of_range_names_line_and_length(tmp_path: Path):
    path = module(tmp_path, MODULE.replace("VBT_CORPUS[1])", "VBT_CORPUS[7])"))
    message = r"vbt_corpus\.py:11: VBT_CORPUS\[7\]: index out of range, VBT_CORPUS has 3 entries"
    with pytest.raises(CftError, match=message):
        load_vbt(path)


def test_deep_nesting_is_refused(tmp_path: Path):
    deep = "[" * (MAX_DEPTH + 2) + "1" + "]" * (MAX_DEPTH + 2)
    with pytest.raises(CftError, match=r"vbt_corpus\.py:1: nested more than"):
        load_vbt(module(tmp_path, f"A = {deep}"))
    with pytest.raises(CftError, match="vbt_corpus"):  # deeper than Python itself parses
        load_vbt(module(tmp_path, "A = " + "[" * 5000 + "1" + "]" * 5000))


def test_literals_of_every_kind(tmp_path: Path):
    path = module(
        tmp_path, "A = [1, -2, 3.5, True, None, 'x', ('y', [])]\nB = {'k': A[1], 2: -1.5}"
    )
    assert read_literals(path) == {
        "A": [1, -2, 3.5, True, None, "x", ("y", [])],
        "B": {"k": -2, 2: -1.5},
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("VBT_TRANSLATIONS: list[str]", "OTHER", "VBT_TRANSLATIONS is not assigned; assign"),
        ('"Second verse", ', "", "VBT_CORPUS has 3 entries and VBT_TRANSLATIONS 2; entry n"),
        ('"First verse"', "5", r"VBT_TRANSLATIONS\[0\]: not a string"),
        ('"First verse"', '" "', "translation 0: empty text; fill it"),
        ("(VBT_CORPUS[0], VBT_CORPUS[1]),", "(VBT_CORPUS[0],),", r"PAIRS\[0\]: not a pair"),
        ("[1])]", '["1"])]', r"VBT_RETRIEVAL_TEST_CASES\[0\]: not \(query"),
        ("[1])]", "[3])]", "retrieval case 0: verse 3 is out of range, there are 3"),
    ],
)
def test_a_malformed_module_is_refused(tmp_path: Path, old: str, new: str, message: str):
    assert old in MODULE
    with pytest.raises(CftError, match=message):
        # "VBT_TRANSLATIONS[2]" goes with the list it would name
        load_vbt(module(tmp_path, MODULE.replace(old, new).replace("VBT_TRANSLATIONS[2]", '"x"')))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verses": []}, "verses: "),
        ({"verses": [{"sanskrit": "x"}]}, "verses.0.english: Field required .*; mend"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted .*; mend"),
        (
            {"similarity_pairs": [[{"verse": 0}, {"verse": 9}]]},
            r"similarity_pairs\[0\]\[1\]: index 9 is out of range, the file has 3 verses",
        ),
        ({"similarity_pairs": [[{"verse": 0}, {"translation": -1}]]}, "index -1 is out of range"),
        ({"similarity_pairs": [[{"verse": 0}]]}, "similarity_pairs.0.1: "),
        (
            {"dissimilarity_pairs": [[{"verse": 0}, {"verse": 1, "text": "x"}]]},
            "dissimilarity_pairs.0.1: .*one of verse, translation and text",
        ),
        ({"dissimilarity_pairs": [[{"verse": 0}, {"text": " "}]]}, r"pairs\[0\]\[1\]: empty text"),
        ({"retrieval_cases": [{"query": "q", "relevant_verses": [3]}]}, "verse 3 is out of range"),
    ],
)
def test_malformed_json_names_the_entry(tmp_path: Path, change: dict, message: str):
    path = as_json(tmp_path, {**JSON, **change})
    with pytest.raises(CftError, match=message) as refused:
        load_vbt(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_what_is_no_json_or_not_there_is_named(tmp_path: Path):
    with pytest.raises(CftError, match=r"none\.json: no such file; name"):
        load_vbt(tmp_path / "none.json")
    with pytest.raises(CftError, match=r"holds neither vbt_corpus\.py nor vbt\.json; name"):
        load_vbt(tmp_path)
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    with pytest.raises(CftError, match=r"bad\.json: not valid JSON in UTF-8"):
        load_vbt(tmp_path / "bad.json")


if REAL.is_file():

    def test_the_real_corpus_and_the_same_as_a_module(tmp_path: Path):
        raw = json.loads(REAL.read_text(encoding="utf-8"))

        def member(one: dict) -> str:
            ((key, value),) = one.items()
            names = {"verse": "VBT_CORPUS", "translation": "VBT_TRANSLATIONS"}
            return repr(value) if key == "text" else f"{names[key]}[{value}]"

        def pairs(name: str) -> str:
            rows = (f"({member(a)}, {member(b)}),\n" for a, b in raw[name])
            return f"VBT_{name.upper()} = [\n{''.join(rows)}]\n"

        cases = [(case["query"], case["relevant_verses"]) for case in raw["retrieval_cases"]]
        text = (
            f"VBT_CORPUS = {[verse['sanskrit'] for verse in raw['verses']]!r}\n"
            f"VBT_TRANSLATIONS = {[verse['english'] for verse in raw['verses']]!r}\n"
            f"{pairs('similarity_pairs')}{pairs('dissimilarity_pairs')}"
            f"VBT_RETRIEVAL_TEST_CASES = {cases!r}\n"
        )
        read, also = load_vbt(REAL), load_vbt(module(tmp_path, text))
        assert (len(read.verses), len(read.similarity_pairs)) == (168, 59)
        assert (len(read.dissimilarity_pairs), len(read.retrieval_cases)) == (39, 31)
        for name in ("verses", "similarity_pairs", "dissimilarity_pairs", "retrieval_cases"):
            assert getattr(read, name) == getattr(also, name)
