"""Mining by an encoder: what loops find, whatever the shards; files that training reads."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from cft.cli.trainable import new_run
from cft.errors import CftError
from cft.files import digest_file
from cft.mining.dense import DenseEngine, cosines
from cft.mining.mine import mine, report_path
from cft.mining.question import Pairs, Question
from cft.mining.search import mixed
from cft.mining.settings import MiningSettings, mining_settings
from cft.model.encoder import Encoder
from cft.model.lora import attach_lora, save_adapter
from cft.recipe import LaunchRecipe, ModelRecipe, Recipe
from cft.training.launch import Machines
from cft.triplets.files import read_triplets
from tests import mining
from tests.tiny import save_backbone


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return save_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def cosine(backbone):
    """Cosine of two texts, each encoded by the real encoder."""
    pairs = mining.rows()
    texts = sorted({*pairs.anchor, *pairs.positive, *(t for row in pairs.negatives for t in row)})
    vectors = dict(zip(texts, Encoder.load(backbone).encode(texts, progress=False), strict=True))
    return lambda a, b: float(vectors[a] @ vectors[b])


def settings(**changes) -> MiningSettings:
    # Random weights see all texts in one direction: a small margin already tells them apart.
    return MiningSettings(**{"num_negatives": 2, "margin": 0.0005} | changes)


@pytest.mark.parametrize("shard_size", [5, 16_384])
@pytest.mark.parametrize("changes", [{}, {"same_script": False}, {"range_min": 3, "range_max": 6}])
def test_what_is_found_is_what_loops_find(backbone, cosine, tmp_path, shard_size, changes):
    pairs, given = mining.rows(), settings(shard_size=shard_size, **changes)
    report = mine(pairs, DenseEngine(backbone), given, tmp_path / "mined.jsonl")
    window = (given.range_min, given.range_max)
    expected = mining.slowly(pairs, cosine, 2, given.margin, window, given.same_script)
    found = mining.mined(tmp_path / "mined.jsonl")
    kept = [row for row, one in enumerate(expected) if one is not None]
    assert 20 < len(kept) == report["rows_written"]
    assert report["rows_written"] + report["rows_with_too_few"] == len(pairs)
    for one, row in zip(found, kept, strict=True):
        # The same texts, but for those whose cosines differ by rounding alone.
        scores = [
            [cosine(one["anchor"], text) for text in texts]
            for texts in (one["negatives"], expected[row])
        ]
        assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    same = [one["negatives"] == expected[row] for one, row in zip(found, kept, strict=True)]
    assert np.mean(same) > 0.9
    assert [one["kind"] for one in found] == [pairs.kind[row] for row in kept]
    for one in found:
        assert one["positive_score"] == pytest.approx(
            cosine(one["anchor"], one["positive"]), abs=1e-5
        )
        assert max(one["negative_scores"]) <= one["positive_score"] * (1 - given.margin) + 1e-5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mined.jsonl", "mined.report.json"]


def test_shards_change_no_byte(backbone, tmp_path):
    engine, digests = DenseEngine(backbone), set()
    for size in (3, 7, 64, 16_384):
        place = tmp_path / str(size) / "mined.jsonl"
        mine(mining.rows(), engine, settings(shard_size=size), place)
        digests.add((digest_file(place), digest_file(report_path(place))))
    assert len(digests) == 1


def test_a_score_does_not_depend_on_its_shard():
    draw, cpu = np.random.default_rng(0), torch.device("cpu")
    query, document = (draw.standard_normal((n, 48)).astype(np.float32) for n in (70, 150))
    whole = cosines(query, document, cpu)
    np.testing.assert_allclose(whole, query @ document.T, atol=1e-4)
    for size in (1, 33, 149):
        parts = [cosines(query, document[at : at + size], cpu) for at in range(0, 150, size)]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_random_ranks_are_drawn_from_the_window_and_repeat(backbone, tmp_path):
    engine, pairs = DenseEngine(backbone), mining.rows()
    ranked = settings(num_negatives=8, range_max=8)
    mine(pairs, engine, ranked, tmp_path / "top.jsonl")
    drawn = [
        settings(num_negatives=3, range_max=8, sampling="random", seed=seed) for seed in (1, 1, 2)
    ]
    for number, one in enumerate(drawn):
        mine(pairs, engine, one, tmp_path / f"{number}.jsonl")
    top = {(r["anchor"], r["positive"]): r for r in mining.mined(tmp_path / "top.jsonl")}
    files = [(tmp_path / f"{number}.jsonl").read_bytes() for number in range(3)]
    assert files[0] == files[1] != files[2]
    seen = 0
    for one in mining.mined(tmp_path / "0.jsonl"):
        if window := top.get((one["anchor"], one["positive"])):
            ranks = [window["negatives"].index(text) for text in one["negatives"]]
            assert ranks == sorted(ranks)
            seen += ranks != [0, 1, 2]
    assert seen > 5


def test_queries_and_documents_take_their_own_prompts(backbone, tmp_path):
    encoder = Encoder.load(backbone)
    contract = encoder.contract.model_copy(
        update={"query_prompt": "query: ", "document_prompt": "passage: "}
    )
    lora = ModelRecipe().lora
    adapted = attach_lora(encoder.embedder.backbone, lora, seed=0)
    save_adapter(adapted, tmp_path / "adapter", contract)
    pairs = mining.rows()
    engine = DenseEngine(backbone, tmp_path / "adapter")
    mine(pairs, engine, settings(shard_size=9), tmp_path / "mined.jsonl")
    adapted_encoder = Encoder.load(backbone, tmp_path / "adapter")

    def cosine(a, b):
        both = [
            adapted_encoder.encode([text], prompt=prompt, progress=False)[0]
            for text, prompt in ((a, "query: "), (b, "passage: "))
        ]
        return float(both[0] @ both[1])

    for one in mining.mined(tmp_path / "mined.jsonl")[:8]:
        scores = [cosine(one["anchor"], text) for text in (one["positive"], *one["negatives"])]
        assert [one["positive_score"], *one["negative_scores"]] == pytest.approx(scores, abs=1e-5)


def test_known_positives_in_both_directions_are_left_out():
    texts = [f"text {n}" for n in range(5)]
    pairs = Pairs(
        [texts[0], texts[0], texts[3]], [texts[1], texts[2], texts[0]],
        [(texts[4],)] * 3, ["x"] * 3,
    )  # fmt: skip
    question = Question.of(pairs, same_script=True)
    query_X, text_X = question.known(np.array([0, 2]))
    named = {
        row: {question.texts[one] for one in text_X[query_X == place]}
        for place, row in enumerate((0, 2))
    }
    assert named == {0: set(texts[:4]), 2: {texts[3], texts[0]}}


def test_two_spellings_are_one_text(backbone, tmp_path):
    pairs = mining.rows()
    spelled = Pairs(
        [f" {text} " for text in pairs.anchor], pairs.positive,
        [tuple(text.replace(" ", "  ") for text in row) for row in pairs.negatives], pairs.kind,
    )  # fmt: skip
    for name, one in (("a", pairs), ("b", spelled)):
        mine(one, DenseEngine(backbone), settings(), tmp_path / name / "mined.jsonl")
    names = [tmp_path / name / "mined.jsonl" for name in "ab"]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_every_format_trains(backbone, tmp_path):
    pairs = mining.rows()
    for suffix in (".jsonl", ".csv", ".tsv", ".parquet"):
        mine(pairs, DenseEngine(backbone), settings(), tmp_path / f"mined{suffix}")
    expected = mining.mined(tmp_path / "mined.jsonl")
    for suffix in (".jsonl", ".csv", ".tsv", ".parquet"):
        triplets = read_triplets(tmp_path / f"mined{suffix}")
        assert triplets.anchor == [one["anchor"] for one in expected]
        assert triplets.negatives == [tuple(one["negatives"]) for one in expected]
    assert pq.read_table(tmp_path / "mined.parquet").to_pylist() == expected
    recipe = Recipe(model=ModelRecipe(backbone=str(backbone)), launch=LaunchRecipe(device="cpu"))
    run, _ = new_run(
        recipe, "stage1", data=tmp_path / "mined.jsonl", adapter=None, output=tmp_path / "run",
        machines=Machines(1, 0, "", 29500),
    )  # fmt: skip
    store = json.loads((run.path / "store" / "manifest.json").read_text(encoding="utf-8"))["store"]
    assert store["rows"] == len(expected)
    assert store["hard_negatives"] == 2


def test_a_finished_output_stands_and_another_is_not_overwritten(backbone, tmp_path, caplog):
    output, engine = tmp_path / "mined.jsonl", DenseEngine(backbone)
    report = mine(mining.rows(), engine, settings(), output)
    written = output.stat().st_mtime_ns
    with caplog.at_level("INFO"):
        assert mine(mining.rows(), engine, settings(shard_size=4), output) == report
    assert "mined already" in caplog.text
    assert output.stat().st_mtime_ns == written
    with pytest.raises(CftError, match="exists and is of other rows, settings or weights"):
        mine(mining.rows(), engine, settings(margin=0.001), output)


def test_rows_that_find_too_few_are_told(backbone, tmp_path):
    with pytest.raises(CftError, match=r"none of 60 rows has 2 candidates at most 0\.01 times"):
        mine(mining.rows(), DenseEngine(backbone), settings(margin=0.99), tmp_path / "m.jsonl")
    assert not (tmp_path / "m.jsonl").exists()


def test_bad_settings_name_their_field():
    with pytest.raises(CftError, match=r"margin: .* less than 1 \(got 1\.5\)"):
        mining_settings({"margin": 1.5})
    with pytest.raises(CftError, match="ranks 5 to 6 hold fewer than num_negatives"):
        mining_settings({"range_min": 5, "range_max": 6, "num_negatives": 2})
    assert mining_settings({"margin": None}) == MiningSettings()


def test_draws_are_even_and_do_not_repeat():
    drawn = mixed(3, np.arange(20_000), np.array(0)) % np.uint64(10)
    counts = np.bincount(drawn.astype(np.int64), minlength=10)
    assert abs(counts - 2000).max() < 200
    assert len(np.unique(mixed(3, np.arange(20_000), np.array(1)))) == 20_000
