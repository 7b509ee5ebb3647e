"""Triplets of a user's file: every format, every column name, and errors that name the place."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.errors import CftError
from cft.text import normalise, text_ids
from cft.triplets import files
from cft.triplets.files import read_triplets, triplet_batches


def write(path: Path, header: list[str], rows: list[list]) -> Path:
    """A file of any kind by its suffix."""
    if path.suffix in {".csv", ".tsv"}:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t")
            writer.writerows([header, *rows])
    elif path.suffix == ".jsonl":
        lines = [
            json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) for row in rows
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
        pyarrow.parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    "header",
    [
        ["sent0", "sent1", "hard_neg"],
        ["anchor", "positive", "negative"],
        ["query", "pos", "neg"],
        ["question", "answer", "negative"],
        ["anchor", "positive", "negative_1"],
    ],
)
def test_every_kind_of_file_and_every_name(tmp_path: Path, suffix, header):
    rows = [["रामः वनं", "Rama", "12"], ['a "quoted", text', "NA", "null"], ["x", "y\u2028z", "1.5"]]
    path = write(tmp_path / f"t{suffix}", ["label", *header], [["7", *row] for row in rows])
    triplets = read_triplets(path)
    assert triplets.anchor == [normalise(row[0]) for row in rows]
    assert triplets.positive == [normalise(row[1]) for row in rows]
    assert triplets.negatives == [(row[2],) for row in rows]
    assert triplets.kind == ["file"] * 3


@pytest.mark.parametrize("name", ["negatives", "negative", "neg"])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_list_of_negatives(tmp_path: Path, suffix, name):
    rows = [["a", "b", ["c", "d"]], ["e", "f", ["g", "h"]], ["i", "j", ["c", "g"]]]
    path = write(tmp_path / f"t{suffix}", ["anchor", "positive", name], rows)
    assert read_triplets(path).negatives == [("c", "d"), ("g", "h"), ("c", "g")]


def test_several_columns_of_negatives(tmp_path: Path):
    header = ["negative_2", "anchor", "positive", "negative_1", "negative_10"]
    path = write(tmp_path / "t.csv", header, [["d", "a", "b", "c", "x"]])
    with pytest.raises(CftError, match=r"t\.csv: negative_10 .* negative_3"):
        read_triplets(path)
    path = write(tmp_path / "t.csv", header[:4], [["d", "a", "b", "c"]])
    assert read_triplets(path).negatives == [("c", "d")]


def test_other_strings_of_parquet(tmp_path: Path):
    table = pa.table(
        {
            "anchor": pa.array(["a", "b", "a"]).dictionary_encode(),
            "positive": pa.array(["c", "d", "e"], pa.large_string()),
            "negatives": pa.array([["x"], ["y"], ["z"]], pa.large_list(pa.large_string())),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    triplets = read_triplets(tmp_path / "t.parquet")
    assert (triplets.anchor, triplets.positive) == (["a", "b", "a"], ["c", "d", "e"])
    assert triplets.negatives == [("x",), ("y",), ("z",)]


def test_marks_blank_lines_and_capitals(tmp_path: Path):
    path = tmp_path / "t.CSV"
    path.write_bytes('\ufeffsent0,sent1,hard_neg\r\n\r\na,"b\nb",c\r\n'.encode())
    assert read_triplets(path).positive == ["b b"]
    path = tmp_path / "t.jsonl"
    line = json.dumps({"anchor": "a", "positive": "b", "negative": "c"})
    path.write_text(f"\n{line}\n\n{line}", encoding="utf-8")
    assert len(read_triplets(path)) == 2


words = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1, max_size=12
).filter(normalise)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(words, words, words), min_size=1, max_size=12),
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]),
    num_rows=st.one_of(st.none(), st.integers(1, 14)),
)
def test_batches_hold_what_a_reader_row_by_row_finds(rows, suffix, num_rows, tmp_path_factory):
    if suffix == ".tsv":  # whose texts hold no tab
        rows = [tuple(text.replace("\t", " ") for text in row) for row in rows]
    path = write(
        tmp_path_factory.mktemp("f") / f"t{suffix}",
        ["sent0", "sent1", "hard_neg"],
        [list(row) for row in rows],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_BLOCK", 400)
        patch.setattr(files, "_ROWS", 3)
        batches = list(triplet_batches(path, num_rows))
    got = [
        [batch.texts[place].as_py() for place in places]
        for batch in batches
        for places in batch.places_NC.tolist()
    ]
    assert got == [[normalise(text) for text in row] for row in rows[:num_rows]]
    for batch in batches:
        assert batch.ids_U.tolist() == text_ids(batch.texts.to_pylist()).tolist()


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (['"Go|b|c', '"Come|e|f'], "row 2, sent0"),
        (['a|b|1|"c', 'd|e|2|"f'], "row 2, hard_neg"),
        # A column that is not read would join the first half of one row to the end of another.
        (['a|b|"1|c', 'd|e|"2|f'], "row 2, label"),
    ],
)
def test_a_mark_of_a_text_joins_no_rows_of_a_tsv(tmp_path: Path, lines, place):
    header = "sent0|sent1|label|hard_neg" if lines[0].count("|") == 3 else "sent0|sent1|hard_neg"
    filled = "x|y|0|z" if "label" in header else "x|y|z"
    content = "\n".join([header, filled, *lines, filled, ""]).replace("|", "\t")
    path = tmp_path / "t.tsv"
    path.write_text(content, encoding="utf-8")
    assert sum(map(len, triplet_batches(path, 1))) == 1
    with pytest.raises(CftError, match=rf"t\.tsv, {place}: holds a tab, .* as \.csv or \.jsonl"):
        read_triplets(path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", "a,b\n1,2\n", r"t\.csv: no column anchor \(or sent0, .*\) among 'a', 'b'; name"),
        ("t.csv", "sent0,sent1\na,b\n", "no column negative"),
        ("t.csv", "sent0,sent1,hard_neg\na,b,c\na, ,c\n", "row 2, sent1: no text; fill"),
        ("t.csv", "sent0,sent1,hard_neg\na,b,c\n\na,b,c\na,b,\n", "row 3, hard_neg: no text"),
        ("t.csv", "sent0,sent1,hard_neg\na,b\n", "row 1: 2 fields, the header has 3"),
        ("t.csv", "sent0,sent1,hard_neg\na,b,c\nd,e, f, g\n", "row 2: 4 fields, the header has 3"),
        ("t.csv", "sent0,sent1,hard_neg\n", "no rows"),
        ("t.csv", "", "no rows"),
        ("t.csv", "sent0,sent0,sent1,hard_neg\na,b,c,d\n", "two columns sent0"),
        (
            "t.csv",
            b"sent0,sent1,hard_neg\na,b,c\na,\xff,c\n",
            r"line 3: not valid UTF-8 \(byte 0xff",
        ),
        ("t.xlsx", "x", r"unknown kind of file; give a \.csv, \.tsv, \.jsonl, \.parquet"),
        ("t.parquet", "x", "cannot be read .*; save it anew"),
        ("t.jsonl", "", "no rows"),
        ("t.jsonl", "{\n", "row 1: not JSON"),
        ("t.jsonl", "[1]\n", "row 1: not a JSON object"),
        ("t.jsonl", '{"anchor":"a","positive":"b"}\n', "no column negative"),
        (
            "t.jsonl",
            '{"anchor":"a","positive":"b","negative":"c"}\n{"anchor":"a","negative":"c"}\n',
            "row 2, positive: no text",
        ),
        (
            "t.jsonl",
            '{"anchor":"a","positive":"b","negative":"c"}\n'
            '{"anchor":3,"positive":"b","negative":"c"}\n',
            "row 2, anchor: not text",
        ),
        (
            "t.jsonl",
            '{"anchor":"a","positive":"b","negatives":["c"]}\n'
            '{"anchor":"a","positive":"b","negatives":["c","d"]}\n',
            "row 2: 2 hard negatives, the first row has 1",
        ),
        (
            "t.jsonl",
            '{"anchor":"a","positive":"b","negatives":["c"]}\n'
            '{"anchor":"a","positive":"b","negatives":"c"}\n',
            "row 2, negatives: not a list in every row",
        ),
        ("t.jsonl", '{"anchor":"a","positive":"b","negatives":[]}\n', "row 1: no hard negatives"),
        (
            "t.jsonl",
            '{"anchor":"a","positive":"b","negatives":[" "]}\n',
            "row 1, negatives: no text",
        ),
        (
            "t.jsonl",
            b'{"anchor":"\xff","positive":"b","negative":"c"}\n',
            "line 1: not valid UTF-8",
        ),
    ],
)
def test_a_bad_place_is_named(tmp_path: Path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(CftError, match=says) as caught:
        read_triplets(path)
    assert "\n" not in str(caught.value)


def test_rows_are_counted_over_batches(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(files, "_BLOCK", 64)
    rows = [[f"a {n}", f"b {n}", f"c {n}"] for n in range(40)]
    rows[33][1] = " "
    path = write(tmp_path / "t.csv", ["sent0", "sent1", "hard_neg"], rows)
    with pytest.raises(CftError, match="row 34, sent1: no text"):
        read_triplets(path)
    assert sum(map(len, triplet_batches(path, 33))) == 33


def test_a_column_that_is_no_text(tmp_path: Path):
    table = pa.table({"anchor": ["a"], "positive": [1], "negative": ["b"]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(CftError, match=r"t\.parquet, column positive: holds int64, not text"):
        read_triplets(tmp_path / "t.parquet")


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(CftError, match=r"gone\.csv: no such file"):
        read_triplets(tmp_path / "gone.csv")
