"""Local data of tasks: the layout, the formats, and errors that name file and row."""

import pytest

from cft.errors import CftError
from cft.evaluation.benchmarks.local_data import LocalData, MissingDataError
from cft.evaluation.benchmarks.tasks import ENGLISH as ENG
from cft.evaluation.benchmarks.tasks import SANSKRIT_ENGLISH, requests
from tests.benchmark_data import ENGLISH, bitext_rows, sts_rows, write_retrieval, write_rows
from tests.lexical import SANSKRIT

FORMATS = [".tsv", ".parquet", ".jsonl"]


def loaded(name, folder, languages=ENG, splits=()):
    task = requests([name], languages, splits)[0].open()
    local = LocalData(task, folder)
    local.attach()
    local.load()
    return task


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("place", ["STS12/test", "STS12-test"])
def test_sts_in_every_format_and_place(tmp_path, suffix, place):
    write_rows(tmp_path / f"{place}{suffix}", sts_rows())
    data = loaded("STS12", tmp_path).dataset["test"]
    assert data["sentence1"][:] == ENGLISH
    assert data["score"][:] == [float(row["score"]) for row in sts_rows()]


def test_a_text_in_a_tsv_is_what_stands_between_tabs(tmp_path):
    rows = sts_rows()
    rows[3]["sentence1"] = '"He said so", and a \'quote" left open'
    rows[4]["sentence2"] = "NA"
    write_rows(tmp_path / "STS12" / "test.tsv", rows)
    data = loaded("STS12", tmp_path).dataset["test"]
    assert data["sentence1"][3] == rows[3]["sentence1"]
    assert data["sentence2"][4] == "NA"


def test_a_multilingual_task_reads_the_folder_of_its_subset(tmp_path):
    write_rows(tmp_path / "STS17" / "en-en" / "test.tsv", sts_rows())
    task = loaded("STS17", tmp_path)
    assert list(task.dataset) == ["en-en"]
    assert len(task.dataset["en-en"]["test"]) == 30


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", ["IN22GenBitextMining", "BibleNLPBitextMining"])
def test_one_table_of_languages_serves_both_directions(tmp_path, name, suffix):
    task = requests([name], SANSKRIT_ENGLISH)[0].open()
    (split,) = task.eval_splits
    languages = sorted(task.hf_subsets[0].split("-"))  # san_Latn is what BibleNLP calls it
    rows = [dict(zip(languages, reversed(row.values()), strict=True)) for row in bitext_rows()]
    write_rows(tmp_path / name / f"{split}{suffix}", rows)
    data = loaded(name, tmp_path, SANSKRIT_ENGLISH).dataset
    if task.parallel_subsets:
        assert data[split][languages[0]][:] == ENGLISH
        assert data[split][languages[1]][:] == SANSKRIT
    else:
        there = data[f"{languages[0]}-{languages[1]}"][split]
        back = data[f"{languages[1]}-{languages[0]}"][split]
        assert there["sentence1"][:] == back["sentence2"][:] == ENGLISH
        assert there["sentence2"][:] == back["sentence1"][:] == SANSKRIT


@pytest.mark.parametrize("suffix", FORMATS)
def test_retrieval_as_beir_lays_it_out(tmp_path, suffix):
    write_retrieval(tmp_path / "SciFact", suffix)
    data = loaded("SciFact", tmp_path).dataset["default"]["test"]
    assert data["corpus"]["id"][:] == [f"d{row}" for row in range(30)]
    assert data["queries"]["id"][:] == [f"q{row}" for row in range(0, 30, 2)]
    assert data["relevant_docs"]["q4"] == {"d4": 1}


def test_classes_are_numbered_alike_in_all_splits(tmp_path):
    for split, labels in (("train", "cab"), ("validation", "ba")):
        rows = [{"text": f"text {label}", "label": label} for label in labels]
        write_rows(tmp_path / "SanskritShlokasClassification" / f"{split}.tsv", rows)
    data = loaded("SanskritShlokasClassification", tmp_path, ()).dataset
    assert (data["train"]["label"][:], data["validation"]["label"][:]) == ([2, 0, 1], [1, 0])


def test_the_revision_is_the_data_and_no_other_task_of_the_class_sees_it(tmp_path):
    write_rows(tmp_path / "STS12" / "test.tsv", sts_rows())
    first = loaded("STS12", tmp_path)
    write_rows(tmp_path / "STS12" / "test.tsv", sts_rows(shift=5))
    second, untouched = loaded("STS12", tmp_path), requests(["STS12"], ENG)[0].open()
    revisions = {one.metadata.revision for one in (first, second, untouched)}
    assert len(revisions) == 3
    assert not untouched.metadata.revision.startswith("local-")


def test_missing_data_says_what_was_looked_for_and_what_there_is(tmp_path):
    write_rows(tmp_path / "STS12-dev.tsv", sts_rows())
    with pytest.raises(MissingDataError, match=r"STS12/test.tsv: not there.*there is STS12-dev"):
        loaded("STS12", tmp_path)
    with pytest.raises(MissingDataError, match=r"SciFact/corpus.tsv: not there"):
        loaded("SciFact", tmp_path)
    with pytest.raises(CftError, match=r"type Reranking are not read from local files"):
        loaded("AskUbuntuDupQuestions", tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows[2].update(score="high"), r"test.tsv, row 3, score: 'high' is no finite"),
        (lambda rows: rows[2].update(score="nan"), r"row 3, score: 'nan' is no finite number"),
        (lambda rows: rows[5].update(sentence2="  "), r"row 6, sentence2: a blank text"),
        (lambda rows: rows[1].update(sentence1="a\tb"), r"cannot be read as tsv .*5 columns|4"),
        (lambda rows: [row.pop("sentence2") for row in rows], r"no column sentence2 among genre"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, change, told):
    rows = sts_rows()
    change(rows)
    write_rows(tmp_path / "STS12" / "test.tsv", rows)
    with pytest.raises(CftError, match=told):
        loaded("STS12", tmp_path)


def test_files_that_cannot_be_used(tmp_path):
    file = write_rows(tmp_path / "STS12" / "test.tsv", sts_rows())
    write_rows(file.with_suffix(".jsonl"), sts_rows())
    with pytest.raises(CftError, match=r"test.tsv and test.jsonl hold the same data"):
        loaded("STS12", tmp_path)
    file.unlink()
    file.with_suffix(".jsonl").rename(file.with_suffix(".parquet"))
    with pytest.raises(CftError, match=r"test.parquet: cannot be read as parquet"):
        loaded("STS12", tmp_path)
    file.with_suffix(".parquet").unlink()
    file.write_text("score\tsentence1\tsentence2\n")
    with pytest.raises(CftError, match=r"test.tsv: no rows"):
        loaded("STS12", tmp_path)
    file.write_bytes(b"score\tsentence1\tsentence2\n1\t\xff\xfe\tb\n")
    with pytest.raises(CftError, match=r"test.tsv: cannot be read as tsv"):
        loaded("STS12", tmp_path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_document_of_megabytes_is_one_row(tmp_path, suffix):
    folder = write_retrieval(tmp_path / "SciFact", suffix)
    long = "word " * 500_000
    rows = [{"id": f"d{row}", "text": long if row % 9 == 1 else "short"} for row in range(30)]
    (folder / f"corpus{suffix}").unlink()
    write_rows(folder / f"corpus{suffix}", rows)
    data = loaded("SciFact", tmp_path).dataset["default"]["test"]
    assert [len(text) for text in data["corpus"]["text"][:3]] == [5, len(long), 5]


def test_judgements_that_fit_no_text(tmp_path, caplog):
    folder = write_retrieval(tmp_path / "SciFact")
    judged = [{"query-id": "q1", "corpus-id": "gone", "score": 1}]
    write_rows(folder / "qrels" / "test.tsv", judged)
    loaded("SciFact", tmp_path)
    assert "1 judged documents are not in the corpus, such as gone" in caplog.text
    write_rows(folder / "qrels" / "test.tsv", [{**judged[0], "query-id": "none"}])
    with pytest.raises(CftError, match=r"judges none of the queries"):
        loaded("SciFact", tmp_path)
    write_rows(folder / "qrels" / "test.tsv", [{**judged[0], "score": 0.5}])
    with pytest.raises(CftError, match=r"row 1, score: 0.5 is no whole grade"):
        loaded("SciFact", tmp_path)
    write_rows(folder / "corpus.tsv", [{"id": "d", "text": "a"}, {"id": "d", "text": "b"}])
    with pytest.raises(CftError, match=r"corpus.tsv: an id occurs twice"):
        loaded("SciFact", tmp_path)
