"""How hard hard negatives are: the figures are those of loops over real encodings."""

import itertools

import numpy as np
import pytest

from cft.errors import CftError
from cft.mining.dataset import open_dataset
from cft.mining.hardness import (
    SIMILARITY_FILE,
    measure,
    metrics_of,
    save_similarities,
    saved_similarities,
    similarities_of,
)
from cft.model.encoder import Encoder
from cft.text import text_id
from cft.triplets.base import Triplets
from tests import mining
from tests.lexical import TrigramEncoder
from tests.tiny import contract, save_backbone, tiny_store


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.load(save_backbone(tmp_path_factory.mktemp("backbone")), device="cpu")


class Lexical(TrigramEncoder):
    """Tells texts apart by their letters, which random weights hardly do."""

    contract = contract(query_prompt="", document_prompt="")


def triplets(rows: int = 40) -> Triplets:
    pairs = mining.rows(rows)
    return Triplets(pairs.anchor, pairs.positive, pairs.negatives, pairs.kind)


def slowly(given: Triplets, encoder, kinds: set[str]) -> dict[str, list[float]]:
    """Cosines of rows of these kinds, pair by pair."""

    def cosine(a, b):
        one, other = (encoder.encode([text], progress=False)[0] for text in (a, b))
        return float(one @ other)

    found: dict[str, list[float]] = {"positive": [], "hard_negative": [], "random": []}
    own = {(text_id(a), text_id(p)) for a, p in zip(given.anchor, given.positive, strict=True)}
    for row, other in itertools.product(range(len(given)), repeat=2):
        if given.kind[row] not in kinds:
            continue
        anchor = given.anchor[row]
        if row == other:
            found["positive"].append(cosine(anchor, given.positive[row]))
            found["hard_negative"] += [cosine(anchor, text) for text in given.negatives[row]]
        a, p = text_id(anchor), text_id(given.positive[other])
        if given.kind[row] == given.kind[other] and not ({(a, p), (p, a)} & own or a == p):
            found["random"].append(cosine(anchor, given.positive[other]))
    return found


def test_figures_are_those_of_loops(encoder):
    given = triplets(24)
    figures = measure(given, encoder)
    assert set(figures["kinds"]) == {"cross_lingual", "mono_sa"}
    for kinds, part in (
        ({"cross_lingual", "mono_sa"}, figures),
        ({"mono_sa"}, figures["kinds"]["mono_sa"]),
    ):
        for name, cosines in slowly(given, encoder, kinds).items():
            assert part[name]["pairs"] == len(cosines)
            assert part[name]["mean"] == pytest.approx(np.mean(cosines), abs=2e-6)
            assert part[name]["std"] == pytest.approx(np.std(cosines), abs=2e-6)
    assert metrics_of(figures) == {
        f"data/similarity_{name}": figures[name]["mean"]
        for name in ("positive", "hard_negative", "random")
    }


def test_drawn_is_no_harder_and_shared_words_are():
    encoder, book = Lexical(), [sanskrit for sanskrit, _ in mining.verses()]
    draw = np.random.default_rng(0)

    def figures(negative_of):
        rows = draw.permutation(len(book))[:60].tolist()
        return measure(
            Triplets(
                [book[row] for row in rows],
                [f"{book[row]} एव" for row in rows],
                [tuple(f"{negative_of(row)} एव" for _ in range(4)) for row in rows],
                ["mono_sa"] * len(rows),
            ),
            encoder,
        )

    drawn = figures(lambda row: book[(row + int(draw.integers(1, len(book)))) % len(book)])
    assert abs(drawn["hardness"]) < 0.1
    assert "no harder than random" in drawn["verdict"]
    near = figures(lambda row: book[row - row % 6 + (row + 1) % 6])  # another verb alone
    assert near["hardness"] > 0.3
    assert near["verdict"] == "hard negatives are harder than random texts"
    far = figures(lambda row: "Quite another language, and longer")
    assert far["hardness"] < 0
    assert "easier than random" in far["verdict"]


def test_an_encoder_that_tells_nothing_apart_is_said_to():
    class Blind(Lexical):
        def encode(self, texts, **_):
            return np.tile(np.array([1, 0], np.float32), (len(texts), 1))

    figures = measure(triplets(), Blind())
    assert figures["hardness"] is None
    assert "does not tell positives from random texts" in figures["verdict"]

    class Broken(Lexical):
        def encode(self, texts, **_):
            return np.full((len(texts), 2), np.nan, np.float32)

    with pytest.raises(CftError, match="vectors that are NaN"):
        measure(triplets(), Broken())
    one = Triplets(["a"], ["b"], [("c",)], ["x"])
    assert "too few rows" in measure(one, Lexical())["verdict"]


def test_a_dataset_keeps_what_was_measured_of_it(tmp_path, encoder):
    folder = tiny_store(tmp_path / "store", rows=30, ways=2).folder
    dataset, identity = open_dataset(folder), {"backbone": "abc", "adapter": None}
    assert saved_similarities(folder) == []
    first = similarities_of(dataset, encoder, identity, rows=10, seed=0)
    assert first["parts"]["triplets"]["positive"]["pairs"] == 10
    assert first["parts"]["triplets"]["hard_negative"]["pairs"] == 20
    save_similarities(folder, first)
    save_similarities(folder, {**first, "encoder": {"backbone": "abc", "adapter": "def"}})
    again = similarities_of(dataset, encoder, identity, rows=10, seed=0)
    assert again == first
    save_similarities(folder, again)
    kept = saved_similarities(folder)
    assert [one["encoder"]["adapter"] for one in kept] == ["def", None]
    assert kept[1] == first
    (folder / SIMILARITY_FILE).write_text("{}", encoding="utf-8")
    with pytest.raises(CftError, match=r"similarity\.json: not a list of figures"):
        saved_similarities(folder)
