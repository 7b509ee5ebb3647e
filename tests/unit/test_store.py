"""The tokenised store against what it was made from: tokens, ids, texts and known positives."""

import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.errors import CftError
from cft.model.nano import train_tokenizer
from cft.model.text_contract import TextContract
from cft.recipe import ModelRecipe
from cft.text import normalise, text_id, text_ids
from cft.triplets import store_files
from cft.triplets.base import Triplets
from cft.triplets.manifest import token_lengths
from cft.triplets.store import TokenStore, build_store

TEXTS = [f"रामः वनं {n} गच्छति" for n in range(30)] + [f"Rama goes {n} times" for n in range(30)]
TRIPLETS = Triplets(
    anchor=[TEXTS[n % 20] for n in range(50)],
    positive=[TEXTS[(n * 7 + 21) % 60] for n in range(50)],
    negatives=[(TEXTS[(n * 3 + 40) % 60], TEXTS[(n * 5 + 2) % 60]) for n in range(50)],
    kind=["cross_lingual"] * 30 + ["mono_sa"] * 20,
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 600)


def contract(tokenizer, **settings) -> TextContract:
    return TextContract.of(ModelRecipe(max_length=24, **settings), tokenizer)


@pytest.fixture(scope="module")
def store(tokenizer, tmp_path_factory) -> TokenStore:
    folder = tmp_path_factory.mktemp("store") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_files, "TEXTS_PER_BATCH", 7)
        patch.setattr("cft.triplets.store.TEXTS_PER_BATCH", 7)
        assert build_store(folder, TRIPLETS, contract(tokenizer), tokenizer, {"a": 1}) == folder
        store = TokenStore.open(folder)
        yield store


def test_rows_are_the_ids_of_the_texts(store: TokenStore):
    assert (store.rows, store.num_negatives) == (50, 2)
    assert store.texts == len(set(TRIPLETS.texts())) == len(TRIPLETS.texts())
    rows_B = np.array([49, 0, 0, 17])
    anchor_B, positive_B, negative_BK = store.triplet_ids(rows_B)
    assert anchor_B.dtype == positive_B.dtype == negative_BK.dtype == np.int64
    assert negative_BK.shape == (4, 2)
    for at, row in enumerate(rows_B.tolist()):
        assert store.text(anchor_B[at]) == TRIPLETS.anchor[row]
        assert store.text(positive_B[at]) == TRIPLETS.positive[row]
        assert tuple(store.text(one) for one in negative_BK[at]) == TRIPLETS.negatives[row]


def test_tokens_are_those_of_the_contract(store: TokenStore, tokenizer):
    expected = contract(tokenizer).tokenize(tokenizer, TRIPLETS.texts())
    ids = text_ids(TRIPLETS.texts())
    for one, tokens in zip(ids.tolist(), expected, strict=True):
        assert store.tokens(one).dtype == np.int32
        assert store.tokens(one).tolist() == tokens.tolist()
        assert store.tokens(one)[-1] == tokenizer.eos_token_id
    again = ids[[5, 5, 0, 31]]
    flat_T, length_B = store.batch_tokens(again)
    assert flat_T.dtype == np.int32
    assert flat_T.tolist() == np.concatenate([store.tokens(one) for one in again]).tolist()
    assert length_B.tolist() == [len(store.tokens(one)) for one in again]
    assert store.lengths(again).tolist() == length_B.tolist()
    nothing = store.batch_tokens(np.zeros(0, dtype=np.int64))
    assert [len(part) for part in nothing] == [0, 0]


def test_tokens_are_views_of_the_file(store: TokenStore):
    tokens = store.tokens(text_id(TEXTS[0]))
    assert not tokens.flags.owndata
    assert not tokens.flags.writeable


def test_known_positives_are_those_of_every_row(store: TokenStore):
    expected = defaultdict(set)
    for anchor, positive in zip(TRIPLETS.anchor, TRIPLETS.positive, strict=True):
        expected[text_id(anchor)].add(text_id(positive))
    anchor_B, _, _ = store.triplet_ids(np.arange(store.rows))
    known_BP = store.known_positives(anchor_B)
    assert known_BP.shape == (50, max(map(len, expected.values())))
    assert {len(row) for row in map(set, known_BP.tolist())} != {1}
    for anchor, row in zip(anchor_B.tolist(), known_BP.tolist(), strict=True):
        assert set(row) == expected[anchor]
        assert set(row[len(expected[anchor]) :]) <= {row[0]}  # padding repeats the first
    one = store.known_positives(anchor_B[:1])
    assert one.shape == (1, len(expected[int(anchor_B[0])]))


def test_a_text_without_positives_has_itself(store: TokenStore):
    ids_B = np.array([text_id(TEXTS[0]), text_id(TEXTS[45]), text_id("not in the store")])
    known_BP = store.known_positives(ids_B)
    assert set(known_BP[1].tolist()) == {ids_B[1]}
    assert set(known_BP[2].tolist()) == {ids_B[2]}
    assert store.known_positives(ids_B[:0]).shape[0] == 0


rows_of_numbers = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20
)


@settings(max_examples=25, deadline=None)
@given(rows=rows_of_numbers, per_batch=st.integers(1, 5))
def test_any_triplets_come_back(rows, per_batch, tokenizer, tmp_path_factory):
    triplets = Triplets(
        anchor=[TEXTS[a] for a, _, _ in rows],
        positive=[TEXTS[b] for _, b, _ in rows],
        negatives=[(TEXTS[c],) for _, _, c in rows],
        kind=["A"] * len(rows),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_files, "TEXTS_PER_BATCH", per_batch)
        patch.setattr("cft.triplets.store.TEXTS_PER_BATCH", per_batch)
        folder = tmp_path_factory.mktemp("any") / "store"
        store = TokenStore.open(build_store(folder, triplets, contract(tokenizer), tokenizer, {}))
        anchor_N, positive_N, negative_NK = store.triplet_ids(np.arange(store.rows))
        for row in range(store.rows):
            assert store.text(anchor_N[row]) == triplets.anchor[row]
            assert store.text(positive_N[row]) == triplets.positive[row]
            assert store.text(negative_NK[row, 0]) == triplets.negatives[row][0]
        for anchor, known in zip(anchor_N, store.known_positives(anchor_N), strict=True):
            assert set(known.tolist()) == set(positive_N[anchor_N == anchor].tolist())


def test_prompts_give_a_text_one_sequence_for_each_role(tokenizer, tmp_path: Path):
    asks = contract(tokenizer, query_prompt="search: ")
    store = TokenStore.open(build_store(tmp_path / "s", TRIPLETS, asks, tokenizer, {}))
    assert store.has_query_tokens
    both = text_id(TEXTS[2])  # an anchor, and a hard negative elsewhere
    query, document = store.tokens(both, "query"), store.tokens(both, "document")
    assert query.tolist() == asks.tokenize(tokenizer, [TEXTS[2]], "search: ")[0].tolist()
    assert document.tolist() == asks.tokenize(tokenizer, [TEXTS[2]])[0].tolist()
    flat_T, length_B = store.batch_tokens(np.array([both, both]), "query")
    assert flat_T.tolist() == [*query.tolist(), *query.tolist()]
    assert length_B.tolist() == [len(query)] * 2
    with pytest.raises(CftError, match=r"'Rama goes .* is no query in any triplet"):
        store.tokens(text_id(TEXTS[45]), "query")
    assert sorted(store.manifest["store"]["token_lengths"]) == ["document", "query"]


def test_equal_prompts_store_nothing_twice(tokenizer, tmp_path: Path, store: TokenStore):
    same = contract(tokenizer, query_prompt="text: ", document_prompt="text: ")
    prompted = TokenStore.open(build_store(tmp_path / "s", TRIPLETS, same, tokenizer, {}))
    one = text_id(TEXTS[0])
    assert not prompted.has_query_tokens
    assert prompted.tokens(one, "query").tolist() == prompted.tokens(one).tolist()
    assert len(prompted.tokens(one)) > len(store.tokens(one))


def test_spellings_of_one_text_are_stored_once(tokenizer, tmp_path: Path):
    triplets = Triplets(["रामः  गच्छति ।"], ["Rama  goes"], [("रामः गच्छति।",)], ["A"])
    store = TokenStore.open(
        build_store(tmp_path / "s", triplets, contract(tokenizer), tokenizer, {})
    )
    assert store.texts == 2
    anchor_N, _, negative_NK = store.triplet_ids(np.arange(1))
    assert anchor_N[0] == negative_NK[0, 0]
    assert store.text(anchor_N[0]) == normalise("रामः  गच्छति ।")


def test_manifest_and_contract_travel_along(store: TokenStore, tokenizer):
    assert store.manifest["a"] == 1
    described = store.manifest["store"]
    assert (described["rows"], described["texts"]) == (store.rows, store.texts)
    assert described["kinds"] == {"cross_lingual": 30, "mono_sa": 20}
    lengths = store.lengths(text_ids(TRIPLETS.texts()))
    histogram = described["token_lengths"]["document"]["histogram"]
    assert sum(histogram["counts"]) == store.texts
    assert described["token_lengths"]["document"]["tokens"] == lengths.sum()
    assert store.contract == contract(tokenizer)


def test_token_length_histogram_counts_every_length():
    lengths = np.array([1, 2, 2, 5, 9, 10])
    described = token_lengths(lengths, 10)
    edges, counts = described["histogram"]["edges"], described["histogram"]["counts"]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        assert count == sum(low <= length < high for length in lengths.tolist())
    assert sum(counts) == 6
    assert (described["max"], described["at_max_length"]) == (10, 1)


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=200),
    max_length=st.sampled_from([40, 61, 150]),
)
def test_counted_lengths_say_what_the_lengths_say(lengths, max_length):
    described = token_lengths(np.array(lengths), max_length)
    assert described["tokens"] == sum(lengths)
    assert described["mean"] == round(float(np.mean(lengths)), 2)
    for name, percent in (("p50", 50), ("p95", 95), ("p99", 99)):
        assert abs(described[name] - np.percentile(lengths, percent)) < 1 + 1e-9
        assert described[name] <= np.percentile(lengths, percent) + 1e-9
    edges = described["histogram"]["edges"]
    expected, _ = np.histogram(lengths, bins=edges)
    assert described["histogram"]["counts"] == expected.tolist()


def test_a_worker_process_gets_the_same_store(store: TokenStore):
    again = pickle.loads(pickle.dumps(store))
    assert (
        again.triplet_ids(np.arange(3))[0].tolist() == store.triplet_ids(np.arange(3))[0].tolist()
    )


def test_an_existing_store_stands(store: TokenStore, tokenizer):
    other = Triplets(["a"], ["b"], [("c",)], ["A"])
    build_store(store.folder, other, contract(tokenizer), tokenizer, {})
    assert TokenStore.open(store.folder).rows == 50


def test_a_failure_leaves_nothing(tokenizer, tmp_path: Path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store_files, "_write_positives", fail)
    with pytest.raises(KeyboardInterrupt):
        build_store(tmp_path / "s", TRIPLETS, contract(tokenizer), tokenizer, {})
    assert list(tmp_path.iterdir()) == []


def test_refusals(store: TokenStore, tokenizer, tmp_path: Path, monkeypatch):
    with pytest.raises(CftError, match="no text with id 12345; build"):
        store.tokens(12345)
    with pytest.raises(CftError, match="no triplets to store"):
        build_store(tmp_path / "s", Triplets([], [], [], []), contract(tokenizer), tokenizer, {})
    with pytest.raises(CftError, match=r"tokens\.arrow: cannot be mapped"):
        TokenStore.open(tmp_path / "absent")
    whole = build_store(tmp_path / "cut", TRIPLETS, contract(tokenizer), tokenizer, {})
    (whole / "tokens.arrow").write_bytes((whole / "tokens.arrow").read_bytes()[:-40])
    with pytest.raises(CftError, match=r"tokens\.arrow: not a whole Arrow file"):
        TokenStore.open(whole)
    monkeypatch.setattr(
        "cft.triplets.stream.ids_of_normalised", lambda texts: np.ones(len(texts), np.int64)
    )
    with pytest.raises(CftError, match="text id 1: shared by"):
        build_store(tmp_path / "s", TRIPLETS, contract(tokenizer), tokenizer, {})
    assert not (tmp_path / "s").exists()
