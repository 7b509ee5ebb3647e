"""``cft data inspect`` and ``cft data mine`` as a user calls them."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cft.cli import app
from cft.errors import CftError
from cft.mining import dataset
from cft.mining.dataset import open_dataset, open_pairs
from cft.mining.lengths import lengths_of
from cft.recipe import DataRecipe
from cft.triplets.base import Triplets
from cft.triplets.files import read_triplets
from cft.triplets.manifest import contamination_note
from cft.triplets.prepare import load_manifest, load_triplets, prepare
from cft.triplets.store import TokenStore, build_store
from tests import mining
from tests.tiny import byte_tokenizer, contract, save_backbone, tiny_store


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    return prepare(DataRecipe(num_rows=400), tmp_path_factory.mktemp("prepared") / "data")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    return save_backbone(tmp_path_factory.mktemp("backbone"))


def run(*words):
    result = CliRunner().invoke(
        app, ["data", *map(str, words)], env={"COLUMNS": "200"}, catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result


def refusal(*words) -> str:
    """The one line of an error that a user is meant to read."""
    result = CliRunner().invoke(app, ["data", *map(str, words)])
    if isinstance(result.exception, CftError):
        assert "\n" not in str(result.exception)
        return str(result.exception)
    assert result.exit_code == 2
    return result.output


def test_prepared_data_show_every_entry_of_the_manifest(prepared):
    output = run("inspect", prepared, "--samples", "1").stdout
    manifest = load_manifest(prepared)
    for kind, rows in manifest["stage1"]["kinds"].items():
        assert any(
            kind in line and f" {rows} " in line and "stage1" in line
            for line in output.splitlines()
        )
    for needle in (
        "Sources", "Left out", "shares_a_side_with_held_out", "min_distance", "neighbour_rule",
    ):  # fmt: skip
        assert needle in output
    assert "Lengths in words" in output
    assert "█" in output
    shown = [line for line in output.splitlines() if line.lstrip().startswith("anchor  ")]
    assert len(shown) == sum(len(set(one.kind)) for one in open_dataset(prepared).parts) == 6


def test_samples_are_rows_of_their_kind_and_follow_the_seed(prepared):
    first, again, other = (
        run("inspect", prepared, "--samples", "3", "--seed", seed).stdout for seed in (1, 1, 2)
    )
    assert first == again != other
    texts = set(
        load_triplets(prepared, "stage1").texts() + load_triplets(prepared, "stage2").texts()
    )
    parts = {part.name: part for part in open_dataset(prepared).parts}
    drawn = parts["stage2"].sample_of("C", 3, 1)
    assert set(drawn.kind) == {"C"}
    assert len(drawn) == 3
    assert set(drawn.texts()) <= texts
    assert drawn.anchor[0] in first
    assert "anchor  " not in run("inspect", prepared, "--samples", "0").stdout


def test_similarities_are_measured_once_and_shown_again(prepared, backbone):
    before = run("inspect", prepared, "--samples", "0").stdout
    assert "to hard negative" not in before
    measured = run(
        "inspect", prepared, "--samples", "0", "--backbone", backbone, "--similarity_rows", "12"
    )
    assert "Lengths in tokens" in measured.stdout
    assert "to hard negative" in measured.stdout
    entry = json.loads((prepared / "similarity.json").read_text(encoding="utf-8"))[0]
    assert entry["sample_rows"] == 12
    assert entry["parts"]["stage2"]["positive"]["pairs"] == 12
    mean = f"{entry['parts']['stage1']['positive']['mean']:.3f}"
    after = run("inspect", prepared, "--samples", "0").stdout
    assert mean in after
    assert entry["parts"]["stage1"]["verdict"] in after


def test_a_store_shows_the_lengths_that_it_counted(tmp_path):
    folder = tiny_store(tmp_path / "store").folder
    output = run("inspect", folder, "--plot", tmp_path / "lengths.png").stdout
    counted = load_manifest(folder)["store"]["token_lengths"]["document"]
    assert "all texts of the store" in output
    assert f"mean {counted['mean']}" in output
    most = max(counted["histogram"]["counts"])
    bars = [line for line in output.splitlines() if line.endswith(f" {'█' * 40} {most}")]
    assert bars
    with Image.open(tmp_path / "lengths.png") as image:
        assert image.format == "PNG"
        assert image.width > 1000


def test_texts_of_a_store_are_read_on_one_walk(tmp_path, monkeypatch):
    rows = 3000
    triplets = Triplets(
        anchor=[f"anchor {n}" for n in range(rows)],
        positive=[f"positive {n}" for n in range(rows)],
        negatives=[(f"negative {n}", f"anchor {(n + 1) % rows}") for n in range(rows)],
        kind=["AB"[n % 2] for n in range(rows)],
    )
    build_store(tmp_path / "store", triplets, contract(), byte_tokenizer(), {})
    one_by_one = []
    text = TokenStore.text
    monkeypatch.setattr(TokenStore, "text", lambda s, id: one_by_one.append(id) or text(s, id))
    (part,) = open_dataset(tmp_path / "store").parts
    assert part.take(np.arange(rows)) == triplets
    assert not one_by_one
    two = part.take(np.array([7, 3]))
    assert (two.anchor, two.negatives[0]) == (["anchor 7", "anchor 3"], ("negative 7", "anchor 8"))
    assert len(part.sample_of("A", 0, 1)) == 0
    assert open_pairs(tmp_path / "store", "stage1").positive == triplets.positive


def test_few_texts_of_a_large_store_are_read_alone(tmp_path, monkeypatch):
    folder = tiny_store(tmp_path / "store").folder
    (part,) = open_dataset(folder).parts
    whole = part.take(np.arange(40))
    monkeypatch.setattr(dataset, "TEXTS_PER_BATCH", 1)
    monkeypatch.setattr(TokenStore, "all_texts", None)
    assert part.take(np.array([5])).texts() == [
        whole.anchor[5], whole.positive[5], *whole.negatives[5]
    ]  # fmt: skip


def test_counted_now_are_the_lengths_of_the_tokenizer(tmp_path):
    path = mining.write_triplets(tmp_path / "triplets.jsonl", mining.rows())
    terms, tokenizer = contract(), byte_tokenizer()
    lengths = lengths_of(open_dataset(path), tokenizer, terms)
    texts = read_triplets(path).texts()
    tokens = [len(one) for one in terms.tokenize(tokenizer, texts)]
    summary = lengths.summaries["text"]
    assert (lengths.unit, summary["texts"], summary["tokens"]) == (
        "tokens",
        len(texts),
        sum(tokens),
    )
    for low, high, count in zip(
        lengths.edges, lengths.edges[1:], lengths.histograms["text"], strict=False
    ):
        assert count == sum(low <= one < high for one in tokens)
    words = lengths_of(open_dataset(path))
    assert (words.unit, words.summaries["text"]["max"]) == (
        "words", max(len(text.split()) for text in texts),
    )  # fmt: skip


def test_data_that_leak_say_so_first(tmp_path):
    recipe = DataRecipe(num_rows=300, eval_pairs=20, all_verses=True, allow_leak=True)
    folder = prepare(recipe, tmp_path / "data")
    note = contamination_note(load_manifest(folder))
    first = run("inspect", folder, "--samples", "0").stdout.split("Sources")[0]
    assert " ".join(first.split()) == f"Note: {note}"


def test_a_file_is_shown_with_its_digest(tmp_path):
    path = mining.write_triplets(tmp_path / "triplets.jsonl", mining.rows())
    output = run("inspect", path).stdout
    assert "triplets.jsonl" in output
    assert "hard_negatives" in output


def test_pairs_without_negatives_and_prepared_data_are_mined(tmp_path, prepared):
    pairs = mining.rows()
    lines = ["query,answer"] + [
        f"{a},{p}" for a, p in zip(pairs.anchor, pairs.positive, strict=True)
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    flags = ["--method", "bm25", "--num_negatives", "2"]
    result = run(
        "mine", "--input", tmp_path / "pairs.csv", "--output", tmp_path / "mined.csv", *flags
    )
    assert result.stdout.strip() == str(tmp_path / "mined.csv")
    assert "its mined negatives" in result.stderr
    assert "came with" not in result.stderr
    assert read_triplets(tmp_path / "mined.csv").num_negatives == 2
    run("mine", "--input", prepared, "--stage", "stage2", "--output", tmp_path / "2.jsonl", *flags)
    stage2 = load_triplets(prepared, "stage2")
    mined = mining.mined(tmp_path / "2.jsonl")
    assert 0.5 * len(stage2) < len(mined) <= len(stage2)
    assert {one["kind"] for one in mined} == {"A", "B", "C", "D"}


def test_what_cannot_be_mined_is_one_line(tmp_path, prepared, backbone):
    path = mining.write_triplets(tmp_path / "triplets.jsonl", mining.rows())
    base = ["mine", "--input", path, "--output", tmp_path / "out.jsonl"]
    assert "--backbone: missing" in refusal(*base)
    assert "no such folder" in refusal(*base, "--backbone", tmp_path / "none")
    assert "BM25 uses no model" in refusal(*base, "--method", "bm25", "--backbone", backbone)
    assert "margin: Input should be less than 1" in refusal(*base, "--margin", "1")
    assert "unknown kind of file" in refusal(*base[:-1], tmp_path / "out.txt", "--method", "bm25")
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in refusal(*base[:-1], tmp_path / "folder.csv", "--method", "bm25")
    gone = ["mine", "--input", tmp_path / "no.csv", *base[3:], "--method", "bm25"]
    assert "does not exist" in refusal(*gone)
    (tmp_path / "bad.csv").write_text("query,answer\na b,\n", encoding="utf-8")
    bad = ["mine", "--input", tmp_path / "bad.csv", *base[3:], "--method", "bm25"]
    assert "bad.csv, row 1, answer: no text" in refusal(*bad)
    (tmp_path / "bad.csv").write_text("one,two\na,b\n", encoding="utf-8")
    assert "no column anchor" in refusal(*bad)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.csv", "folder.csv", "triplets.jsonl"]


def test_what_cannot_be_inspected_is_one_line(tmp_path, prepared):
    assert "does not exist" in refusal("inspect", tmp_path / "none")
    assert "neither prepared data" in refusal("inspect", tmp_path)
    assert "needs --backbone" in refusal("inspect", prepared, "--adapter", tmp_path)
    assert "not a PNG" in refusal("inspect", prepared, "--plot", tmp_path / "x.pdf")
