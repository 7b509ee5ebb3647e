"""The folder of line-aligned files: what is read, what is filtered, and every refusal."""

from pathlib import Path

import pytest

from cft.corpora.filters import fit_pairs, why_unfit
from cft.corpora.itihasa import load_itihasa, read_lines
from cft.errors import CftError
from cft.text import normalise

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "itihasa"

SANSKRIT = ["रामः वनं गच्छति ।", "सीता जलं पिबति ||", "हनुमान् गिरिं नयति"]
ENGLISH = ["Rama goes to the forest.", "Sita drinks the water.", "Hanuman carries the hill."]


def write(folder: Path, name: str, lines: list[str]) -> None:
    (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write(tmp_path, "train.sn", SANSKRIT)
    write(tmp_path, "train.en", ENGLISH)
    return tmp_path


def test_texts_are_normalised_and_rows_kept(corpus: Path):
    loaded = load_itihasa(corpus)
    assert list(loaded.splits) == ["train"]
    train = loaded.splits["train"]
    assert [pair.sanskrit for pair in train] == [normalise(text) for text in SANSKRIT]
    assert train[1].sanskrit == "सीता जलं पिबति॥"
    assert [(pair.row, pair.chapter) for pair in train] == [(0, None), (1, None), (2, None)]
    assert set(loaded.source) == {"train.sn", "train.en"}


def test_chapters_and_other_splits_are_read_where_given(corpus: Path):
    write(corpus, "train.chapters.tsv", ["one\t1\tTitle", "one\t2\tTitle", "two\t1\tTitle"])
    for split in ("dev", "test"):
        write(corpus, f"{split}.sn", SANSKRIT[:2])
        write(corpus, f"{split}.en", ENGLISH[:2])
    loaded = load_itihasa(corpus)
    assert [pair.chapter for pair in loaded.splits["train"]] == ["one", "one", "two"]
    assert {name: len(rows) for name, rows in loaded.splits.items()} == {
        "train": 3,
        "dev": 2,
        "test": 2,
    }
    assert loaded.splits["dev"][0].chapter is None


def test_num_rows_limits_the_training_split_alone(corpus: Path):
    write(corpus, "dev.sn", SANSKRIT)
    write(corpus, "dev.en", ENGLISH)
    loaded = load_itihasa(corpus, num_rows=1)
    assert [len(loaded.splits[split]) for split in ("train", "dev")] == [1, 3]
    assert len(load_itihasa(corpus, num_rows=99).splits["train"]) == 3


def test_a_source_digest_follows_the_content(corpus: Path):
    before = load_itihasa(corpus).source
    write(corpus, "train.en", [*ENGLISH[:2], "Hanuman lifts the hill."])
    after = load_itihasa(corpus).source
    assert before["train.sn"] == after["train.sn"]
    assert before["train.en"] != after["train.en"]


def test_line_ends_and_byte_order_mark(tmp_path: Path):
    path = tmp_path / "text"
    path.write_bytes("\ufeffone two\r\nthree\u2028four".encode())
    assert [normalise(line) for line in read_lines(path)] == ["one two", "three four"]


@pytest.mark.parametrize(
    ("sanskrit", "english", "reason"),
    [
        ("", "Then the son assaulted him.", "empty"),
        ("रामः वनं गच्छति।", "", "empty"),
        ("।", "Then the son assaulted him.", "degenerate"),
        ("रामः वनं गच्छति।", "—", "degenerate"),
        ("रामः वनं गच्छति।", "was", "degenerate"),
        ("रामः", "and so on " * 20, "misaligned"),
        ("रामः वनं गच्छति " * 20, "of a", "misaligned"),
        ("रामः वनम् " * 100, "Rama the forest " * 100, "over_long"),
        ("रामः वनं गच्छति।", "Rama goes to the forest.", None),
    ],
)
def test_filters(sanskrit: str, english: str, reason: str | None):
    assert why_unfit(normalise(sanskrit), normalise(english)) == reason


def test_dropped_rows_are_counted_and_the_others_keep_their_numbers(tmp_path: Path):
    write(tmp_path, "train.sn", [SANSKRIT[0], "।", SANSKRIT[0], SANSKRIT[1], SANSKRIT[2]])
    write(tmp_path, "train.en", [ENGLISH[0], "It was so.", ENGLISH[0], " \u00a0\t", ENGLISH[2]])
    loaded = load_itihasa(tmp_path)
    assert [pair.row for pair in loaded.splits["train"]] == [0, 4]
    assert loaded.dropped == {
        "empty": 1, "degenerate": 1, "misaligned": 0, "over_long": 0, "duplicate": 1,
    }  # fmt: skip
    again = fit_pairs(loaded.splits["train"], counts := {})
    assert again == loaded.splits["train"]
    assert not any(counts.values())


def spoil_missing(folder: Path) -> None:
    (folder / "train.sn").unlink()


def spoil_unpaired(folder: Path) -> None:
    (folder / "train.en").unlink()


def spoil_unpaired_dev(folder: Path) -> None:
    write(folder, "dev.en", ENGLISH)


def spoil_counts(folder: Path) -> None:
    write(folder, "train.en", ENGLISH[:2])


def spoil_empty_file(folder: Path) -> None:
    write(folder, "train.sn", [])


def spoil_encoding(folder: Path) -> None:
    (folder / "train.en").write_bytes(b"Rama goes.\nS\xeeta drinks.\nHanuman flies.\n")


def spoil_chapter_count(folder: Path) -> None:
    write(folder, "train.chapters.tsv", ["one\t1\tTitle"] * 2)


def spoil_chapter_name(folder: Path) -> None:
    write(folder, "train.chapters.tsv", ["one\t1\tTitle", "\t2\tTitle", "two\t1\tTitle"])


def spoil_all_rows(folder: Path) -> None:
    write(folder, "train.en", ["a", "b", "c"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_missing, "train.sn: no such file; every split needs .* beside train.en"),
        (spoil_unpaired, "train.en: no such file; every split needs .* beside train.sn"),
        (spoil_unpaired_dev, "dev.sn: no such file; every split needs .* beside dev.en"),
        (spoil_counts, "train.sn: 3 lines, but train.en has 2; line n"),
        (spoil_empty_file, "train.sn: the file is empty; give"),
        (spoil_encoding, r"train.en:2: not valid UTF-8 \(byte 0xee\); save it as UTF-8"),
        (spoil_chapter_count, "train.chapters.tsv: 2 lines, but train.sn has 3; name"),
        (spoil_chapter_name, "train.chapters.tsv:2: the first column, the chapter, is empty"),
        (spoil_all_rows, "train.sn: none of its rows passes the filters .*3 degenerate"),
    ],
)
def test_refusals_name_the_place_and_the_mend(corpus: Path, spoil, message: str):
    spoil(corpus)
    with pytest.raises(CftError, match=message) as refused:
        load_itihasa(corpus)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(corpus))


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(CftError, match="absent: no such folder; name one"):
        load_itihasa(tmp_path / "absent")


if REAL.is_dir():

    def test_the_real_corpus_loads_and_loses_only_its_known_faults():
        loaded = load_itihasa(REAL)
        assert len(loaded.splits["train"]) + len(loaded.splits["dev"]) + sum(
            loaded.dropped.values()
        ) == (75161 + 6148)
        assert sum(loaded.dropped.values()) < 250
        assert loaded.dropped["duplicate"] == 162
        assert len({pair.chapter for pair in loaded.splits["train"]}) > 2000
