"""Whether a model has seen a suite: stores, prepared data, files of triplets, chains of runs."""

import json
from pathlib import Path

import pytest

from cft.errors import CftError
from cft.evaluation.contamination import find_contamination, trained_on, training_data_of
from cft.text import text_id
from cft.triplets.base import Triplets
from cft.triplets.store import build_store
from tests.tiny import byte_tokenizer, contract

ROWS = Triplets(
    anchor=["शिवः |", "one"], positive=["two", "three"], negatives=[("four",), ("five",)],
    kind=["A", "B"],
)  # fmt: skip


def store(folder: Path) -> Path:
    build_store(folder, ROWS, contract(), byte_tokenizer(), {})
    return folder


def triplet_file(folder: Path) -> Path:
    path = folder / "rows.csv"
    path.write_text("sent0,sent1,hard_neg\nशिवः |,two,four\none,three,five\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("make", [lambda folder: store(folder / "store"), triplet_file])
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("शिवः ।", "anchor row 0"),
        ("शिवः ॥ १ ॥", "anchor row 0"),
        ("three", "positive row 1"),
        (" Five.", "negatives row 1"),
    ],
)
def test_a_trained_text_is_found_in_any_spelling(tmp_path, make, text, place, caplog):
    (leak,) = find_contamination("suite", ["unseen", text], [make(tmp_path)])
    assert leak.rows == 1
    assert place in str(leak)
    assert "text 1" in str(leak)
    assert "CONTAMINATED: evaluation set suite: 1 training rows" in caplog.text


def test_unseen_texts_are_clean(tmp_path):
    data = [store(tmp_path / "store"), triplet_file(tmp_path)]
    assert find_contamination("suite", ["unseen", "शिव"], data) == []
    assert find_contamination("suite", ["one"], []) == []


def test_texts_that_were_trained_on_are_told_apart(tmp_path):
    asked = ["शिवः ॥ १ ॥", "unseen", "FIVE"]
    seen = trained_on(asked, [store(tmp_path / "store"), triplet_file(tmp_path)])
    assert set(seen.tolist()) == {text_id(asked[0]), text_id(asked[2])}


def test_what_is_no_training_data_is_told(tmp_path):
    with pytest.raises(CftError, match=r"gone: no such training data; name"):
        find_contamination("suite", ["one"], [tmp_path / "gone"])
    with pytest.raises(CftError, match=r"neither a tokenised store nor prepared data; name"):
        find_contamination("suite", ["one"], [tmp_path])


def run_of(folder: Path, store: str, start: Path | None = None) -> Path:
    (folder / "adapter").mkdir(parents=True)
    spec = {"store": store, "init_adapter": str(start) if start else None}
    (folder / "spec.json").write_text(json.dumps(spec))
    return folder


def test_the_data_of_a_run_and_of_the_runs_before_it(tmp_path):
    first = run_of(tmp_path / "both" / "stage1", "/data/one")
    second = run_of(tmp_path / "both" / "stage2", "/data/two", first / "adapter")
    both = [Path("/data/two"), Path("/data/one")]
    assert training_data_of(second) == both
    assert training_data_of(second / "adapter") == both
    assert training_data_of(tmp_path / "both") == both
    assert training_data_of(first / "adapter") == [Path("/data/one")]


def test_two_runs_on_one_store_hide_none_before_them(tmp_path):
    data = [store(tmp_path / "first"), tmp_path / "second"]
    other = Triplets(anchor=["x"], positive=["y"], negatives=[("z",)], kind=["A"])
    build_store(data[1], other, contract(), byte_tokenizer(), {})
    run = run_of(tmp_path / "one", str(data[0]))
    for name in ("two", "three"):
        run = run_of(tmp_path / name, str(data[1]), run / "adapter")
    assert training_data_of(run) == data[::-1]
    assert find_contamination("suite", ["one"], training_data_of(run))


def test_a_model_that_no_run_made_has_no_known_data(tmp_path):
    assert training_data_of(tmp_path) == []
    assert training_data_of(Path("sentence-transformers/LaBSE")) == []
    assert training_data_of(Path("models:/cft-embedder@champion")) == []


def test_runs_that_start_from_each_other_end(tmp_path):
    one = run_of(tmp_path / "one", "/data/one", tmp_path / "two" / "adapter")
    run_of(tmp_path / "two", "/data/two", one / "adapter")
    assert training_data_of(one) == [Path("/data/one"), Path("/data/two")]


def test_a_broken_spec_is_told(tmp_path):
    run = run_of(tmp_path / "one", "/data/one")
    (run / "spec.json").write_text("{")
    with pytest.raises(CftError, match=r"spec\.json: not valid JSON .*; name another model"):
        training_data_of(run)
