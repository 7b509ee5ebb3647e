"""The streamed store against the one that is built in memory, text by text and row by row."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.errors import CftError
from cft.recipe import DataRecipe
from cft.text import text_id
from cft.triplets import gathered, partitions, store_files
from cft.triplets.base import Triplets
from cft.triplets.partitions import Partitions
from cft.triplets.prepare import load_triplets, prepare
from cft.triplets.store import TokenStore, build_store
from cft.triplets.stream import TripletBatch, batches_of, stage_batches
from cft.triplets.tables import map_file, table_of
from tests.reference_store import reference_store
from tests.tiny import byte_tokenizer, contract

FILES = ("tokens.arrow", "texts.arrow", "triplets.arrow", "positives.arrow")
TOKENIZER = byte_tokenizer()


def triplets(rows: int, texts: int, ways: int = 1, seed: int = 0) -> Triplets:
    """Rows over few texts, some of which are spellings of one another."""
    draw = np.random.default_rng(seed)
    names = [f"धर्मः {n // 2}{' ' * (n % 2)}{' |' if n % 3 else '।'}" for n in range(texts)]
    columns = draw.integers(0, texts, (rows, 2 + ways)).tolist()
    return Triplets(
        anchor=[names[row[0]] for row in columns],
        positive=[names[row[1]] for row in columns],
        negatives=[tuple(names[one] for one in row[2:]) for row in columns],
        kind=[["b", "a", "c"][row[0] % 3] for row in columns],
    )


def in_parts(given_triplets: Triplets, size: int) -> Iterator[TripletBatch]:
    for start in range(0, len(given_triplets), size):
        some = slice(start, start + size)
        yield from batches_of(
            Triplets(
                given_triplets.anchor[some],
                given_triplets.positive[some],
                given_triplets.negatives[some],
                given_triplets.kind[some],
            )
        )


def assert_equal_stores(one: Path, other: Path, exactly: tuple[str, ...] = FILES[:2]) -> None:
    for name in FILES:
        if name in exactly:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
        mine, theirs = (table_of(map_file(f / name), f / name) for f in (one, other))
        assert mine.equals(theirs), name


@pytest.fixture
def small_batches(monkeypatch):
    """Everything that is done in portions is done in tiny ones."""
    monkeypatch.setattr(store_files, "TEXTS_PER_BATCH", 7)
    monkeypatch.setattr("cft.triplets.store.TEXTS_PER_BATCH", 7)
    monkeypatch.setattr(gathered, "_TEXTS_AT_ONCE", 5)
    monkeypatch.setattr(gathered, "_NUMBERS_AT_ONCE", 40)


@pytest.mark.parametrize("prompts", [{}, {"query_prompt": "q: "}, {"query_prompt": "q: ",
                                     "document_prompt": "d: "}])  # fmt: skip
@pytest.mark.parametrize("ways", [1, 3])
def test_it_equals_the_one_in_memory(tmp_path: Path, small_batches, prompts, ways):
    rows, terms = triplets(300, 120, ways), contract(**prompts)
    reference = reference_store(tmp_path / "reference", rows, terms, TOKENIZER, per_batch=7)
    for budget in (1 << 20, 6000, 900):
        built = build_store(
            tmp_path / str(budget), in_parts(rows, 37), terms, TOKENIZER, {}, budget=budget
        )
        assert_equal_stores(built, reference)
        store = TokenStore.open(built)
        assert store.manifest["store"]["kinds"] == rows.kinds()
        assert store.manifest["store"]["texts"] == store.texts
        assert sorted(path.name for path in built.iterdir()) == sorted(
            [*FILES, "manifest.json", "text_contract.json"]
        )
        anchor_N, _, _ = store.triplet_ids(np.arange(store.rows))
        for row, anchor in enumerate(anchor_N.tolist()):
            assert anchor == text_id(rows.anchor[row])
            assert text_id(rows.positive[row]) in store.known_positives(anchor_N[row : row + 1])


def test_what_fits_is_the_same_file_byte_by_byte(tmp_path: Path):
    rows, terms = triplets(200, 90, 2), contract()
    built = build_store(tmp_path / "built", rows, terms, TOKENIZER, {})
    reference = reference_store(tmp_path / "reference", rows, terms, TOKENIZER)
    assert_equal_stores(built, reference, exactly=FILES)


def test_a_prepared_stage_is_streamed_with_the_ids_that_it_has(tmp_path: Path):
    folder = prepare(DataRecipe(num_rows=400, eval_pairs=40), tmp_path / "data")
    for stage in ("stage1", "stage2"):
        built = build_store(
            tmp_path / stage, stage_batches(folder, stage), contract(), TOKENIZER, {}
        )
        reference = reference_store(
            tmp_path / f"{stage}-reference", load_triplets(folder, stage), contract(), TOKENIZER
        )
        assert_equal_stores(built, reference, exactly=FILES)


def test_the_budget_is_kept_and_files_are_used(tmp_path: Path, small_batches, monkeypatch):
    held: list[int] = []
    levels: set[int] = set()
    real = Partitions._merged

    def watched(self):
        held.append(sum(one.nbytes for one in self._held))
        levels.add(self._used_bits)
        return real(self)

    monkeypatch.setattr(Partitions, "_merged", watched)
    budget = 4000
    rows = triplets(4000, 3000)
    build_store(tmp_path / "s", in_parts(rows, 50), contract(), TOKENIZER, {}, budget=budget)
    one_batch = 50 * 16  # ids of pairs that arrive at once
    assert max(held) <= budget + one_batch
    assert max(levels) > 0, "a range beyond the budget is cut again"


def test_one_key_with_too_much_is_still_read(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(partitions, "_MOST_BITS", 11)
    schema = pa.schema([("key", pa.int64()), ("value", pa.int64())])
    rows = Partitions(tmp_path, schema, lambda batch: batch, budget=64)
    for value in range(100):
        rows.append(pa.RecordBatch.from_pydict({"key": [7], "value": [value]}, schema=schema))
    (part,) = rows.parts()
    assert sorted(part.column(1).to_pylist()) == list(range(100))
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=40, deadline=None)
@given(
    keys=st.lists(st.one_of(st.integers(-3, 3), st.integers(-(1 << 63), (1 << 63) - 1))),
    budget=st.sampled_from([1, 40, 1000]),
)
def test_any_keys_come_back_in_order_and_once(tmp_path_factory, keys, budget):
    schema = pa.schema([("key", pa.int64())])

    def distinct(batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(
            [pa.array(np.unique(batch.column(0).to_numpy()))], schema=schema
        )

    rows = Partitions(tmp_path_factory.mktemp("p"), schema, distinct, budget)
    for key in keys:
        rows.append(pa.RecordBatch.from_pydict({"key": [key]}, schema=schema))
    got = [key for part in rows.parts() for key in part.column(0).to_pylist()]
    assert got == sorted(set(keys))


def test_refusals_leave_nothing(tmp_path: Path):
    first, second = (next(batches_of(triplets(5, 9, ways))) for ways in (1, 2))
    with pytest.raises(CftError, match="rows with 1 and with 2 hard negatives"):
        build_store(tmp_path / "s", [first, second], contract(), TOKENIZER, {})
    with pytest.raises(CftError, match="no triplets to store"):
        build_store(tmp_path / "s", iter(()), contract(), TOKENIZER, {})
    same = np.ones_like(first.ids_U)
    with pytest.raises(CftError, match="text id 1: shared by"):
        build_store(tmp_path / "s", [replace(first, ids_U=same)], contract(), TOKENIZER, {})
    assert list(tmp_path.iterdir()) == []
