"""The suite: one encoding a text, honest absences, checked encoders, results that survive."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cft.corpora.evalset import EvalSts
from cft.errors import CftError
from cft.evaluation.figures import Figure
from cft.evaluation.suites.held_out import evaluate
from cft.model.encoder import Encoder
from cft.model.nano import make_backbone
from cft.recipe import NanoRecipe
from cft.text import text_id
from tests.lexical import (
    DICTIONARY,
    RECIPE,
    SANSKRIT,
    TrigramEncoder,
    english_of,
    evaluation_set,
)

POOLS = ("sa_en", "en_sa", "texts")
# An encoder that finds every verse has no ranks that could follow lengths.
RANK_AND_LENGTH = ("length/sa_en_rank", "length/en_sa_rank")
PAIRWISE = {  # what is named after a figure but needs the pairs
    *RANK_AND_LENGTH,
    *(what for way in POOLS[:2] for what in (f"hubness/{way}", f"length/{way}_hubs")),
}
NAMES = {
    *(
        f"{way}/{metric}"
        for way in ("sa_en", "en_sa", "mean")
        for metric in ("mrr", "recall_at_1", "recall_at_3", "recall_at_5")
    ),
    *("sts/spearman", "sts/pearson", "triplet/accuracy", "triplet/margin", "alignment"),
    *(f"triplet/{kind}_{what}" for kind in ("mono", "x_y") for what in ("accuracy", "margin")),
    *(f"anisotropy/{what}" for what in ("mean", "std", "min", "max", "range")),
    "uniformity",
    *(what for pool in POOLS for what in (f"hubness/{pool}", f"length/{pool}_hubs")),
    *RANK_AND_LENGTH,
}


@pytest.fixture(scope="module")
def lexical():
    return evaluate(TrigramEncoder(), evaluation_set(), RECIPE, model="lexical")


@pytest.fixture(scope="module")
def translating():
    encoder = TrigramEncoder(words=DICTIONARY)
    return evaluate(encoder, evaluation_set(), RECIPE, model="translating")


def test_every_figure_is_there_with_its_interval(translating):
    figures = translating.evaluation.figures
    assert set(figures) == NAMES - set(RANK_AND_LENGTH)
    assert all(one.low <= one.value <= one.high for one in figures.values())
    assert translating.evaluation.counts == {"pairs": 30, "sts": 31, "triplets": 11, "texts": 60}
    assert translating.evaluation.evalset == "words"


def test_an_encoder_that_translates_is_perfect_and_a_lexical_one_is_not(lexical, translating):
    perfect, poor = translating.evaluation.figures, lexical.evaluation.figures
    for name in ("sa_en/mrr", "en_sa/recall_at_1", "mean/mrr", "triplet/accuracy"):
        assert perfect[name] == Figure(value=1, low=1, high=1)
    assert poor["mean/mrr"].high < 0.6
    assert perfect["alignment"].value == pytest.approx(0, abs=1e-6)


def test_figures_follow_from_the_items_by_other_means(lexical):
    figures, items = lexical.evaluation.figures, lexical.items
    encoder = TrigramEncoder()
    sanskrit = np.array([encoder.vector(verse) for verse in SANSKRIT])
    english = np.array([encoder.vector(english_of(verse)) for verse in SANSKRIT])
    rank = stats.rankdata(-np.round(sanskrit @ english.T, 5), axis=1).diagonal()
    np.testing.assert_allclose(items["sa_en/rank"], rank)
    assert figures["sa_en/mrr"].value == pytest.approx((1 / rank).mean())
    assert figures["sa_en/recall_at_5"].value == pytest.approx((rank <= 5).mean())
    both = [figures[f"{way}/mrr"].value for way in ("sa_en", "en_sa")]
    assert figures["mean/mrr"].value == pytest.approx(np.mean(both))
    rho = stats.spearmanr(items["sts/score"], np.round(items["sts/cosine"], 6)).statistic
    assert figures["sts/spearman"].value == pytest.approx(rho)
    mono = items["triplet/category"] == "mono"
    margin = (items["triplet/positive"] - items["triplet/negative"])[mono].mean()
    assert figures["triplet/mono_margin"].value == pytest.approx(margin)


def test_two_verses_with_one_translation_are_both_right():
    pairs = evaluation_set().pairs
    shared = [pairs[0], pairs[1].model_copy(update={"english": pairs[0].english}), *pairs[2:]]
    couples = [(pair.sanskrit, pair.english) for pair in shared]
    for encoder in (TrigramEncoder(), TrigramEncoder(words=DICTIONARY)):
        items = evaluate(encoder, evaluation_set(pairs=shared), RECIPE, model="any").items
        np.testing.assert_allclose(items["sa_en/rank"], slow_ranks(encoder, couples))
        turned = [(english, sanskrit) for sanskrit, english in couples]
        np.testing.assert_allclose(items["en_sa/rank"], slow_ranks(encoder, turned))


def slow_ranks(encoder, couples):
    """Rank of the best right answer of every query in plain loops; equal texts are one text."""
    pool = {text: encoder.vector(text) for _, text in couples}
    ranks = []
    for query, _ in couples:
        vector_D = encoder.vector(query)
        score = {text: round(float(vector_D @ pool[text]), 5) for text in pool}
        right = {text for other, text in couples if other == query}
        best = max(score[text] for text in right)
        wrong = [score[text] for text in pool if text not in right]
        ranks.append(1 + sum(one > best for one in wrong) + wrong.count(best) / 2)
    return ranks


def test_each_distinct_text_is_encoded_once_and_three_again_as_a_probe():
    encoder = TrigramEncoder()
    evaluate(encoder, evaluation_set(), RECIPE, model="counted")
    (_, first), (_, probe) = encoder.calls
    assert max(Counter(text_id(text) for text in first).values()) == 1
    assert len(first) == 60
    assert probe == [first[59], first[30], first[0]]


def test_prompts_are_those_of_each_side():
    encoder = TrigramEncoder()
    result = evaluate(
        encoder,
        evaluation_set(),
        RECIPE,
        model="prompted",
        query_prompt="query: ",
        document_prompt="passage: ",
    )
    assert Counter(prompt for prompt, _ in encoder.calls) == {"query: ": 2, "passage: ": 2}
    row = 4
    query = encoder.vector("query: " + SANSKRIT[row])
    document = encoder.vector("passage: " + english_of(SANSKRIT[row]))
    assert result.items["pairs/cosine"][row] == pytest.approx(query @ document, abs=1e-6)
    assert result.items["sts/cosine"][0] == pytest.approx(
        query_of(encoder, SANSKRIT[0]) @ query_of(encoder, SANSKRIT[3]), abs=1e-6
    )


def query_of(encoder, text):
    return encoder.vector("query: " + text)


@pytest.mark.parametrize("section", ["pairs", "sts", "triplets"])
def test_an_empty_section_is_absent_and_counted_as_nothing(section):
    changed = evaluation_set(**{section: []})
    result = evaluate(TrigramEncoder(), changed, RECIPE, model="some")
    prefixes = {
        "pairs": ("sa_en", "en_sa", "mean", "alignment"),
        "sts": ("sts",),
        "triplets": ("triplet",),
    }[section]
    assert result.evaluation.counts[section] == 0
    assert set(result.evaluation.figures) == {
        name
        for name in NAMES
        if name.split("/")[0] not in prefixes and not (section == "pairs" and name in PAIRWISE)
    }
    assert (result.similarities is None) == (section == "pairs")


def test_a_constant_side_leaves_the_correlation_out_and_says_so(caplog):
    same = [EvalSts(a=SANSKRIT[row], b=SANSKRIT[row + 1], score=3) for row in range(6)]
    with caplog.at_level(logging.WARNING):
        result = evaluate(TrigramEncoder(), evaluation_set(sts=same), RECIPE, model="flat")
    assert "sts/spearman" not in result.evaluation.figures
    assert result.evaluation.counts["sts"] == 6
    assert "sts/spearman is undefined on 6 items" in caplog.text


def test_a_collapsed_encoder_scores_like_chance():
    class Collapsed(TrigramEncoder):
        def vector(self, text):
            return super().vector("one text")

    figures = evaluate(Collapsed(), evaluation_set(), RECIPE, model="flat").evaluation.figures
    assert figures["mean/mrr"].value == pytest.approx(2 / 31)
    assert figures["mean/recall_at_5"].value == 0
    assert figures["triplet/accuracy"].value == 0.5
    assert "sts/spearman" not in figures
    assert figures["anisotropy/mean"].value == pytest.approx(1, abs=1e-6)
    assert figures["uniformity"].value == pytest.approx(0, abs=1e-5)


def broken(change):
    class Broken(TrigramEncoder):
        def encode(self, texts, **options):
            return change(super().encode(texts, **options))

    return Broken()


def with_row(row, value):
    def change(vector_ND):
        if len(vector_ND) > row:
            vector_ND[row] = value
        return vector_ND

    return change


def dropout(vector_ND):
    return vector_ND * np.random.default_rng().integers(0, 2, vector_ND.shape)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_row(7, np.nan), r"1 of 60 vectors are NaN or infinite, first text 7 \('"),
        (with_row(8, np.inf), r"NaN or infinite, first text 8"),
        (with_row(9, 0.0), r"1 of 60 vectors are all zero, first text 9"),
        (lambda vectors: vectors[:-1], r"60 texts gave an array of shape \(59, 64\)"),
        (lambda vectors: vectors[:, 0], r"60 texts gave an array of shape \(60,\)"),
        (lambda vectors: vectors.T, r"60 texts gave an array of shape \(64, 60\)"),
        (lambda vectors: vectors.astype(np.int64), r"vectors of type int64"),
        (lambda vectors: vectors[:, : len(vectors)], r"vectors of 60 and then 3 numbers"),
        (lambda vectors: np.sort(vectors, axis=0), r"encoded twice gives two vectors"),
        (lambda vectors: np.roll(vectors, 1, axis=0), r"keep the order of texts"),
        (dropout, r"dropout off"),
    ],
)
def test_an_unusable_encoder_is_one_clear_error(change, message):
    with pytest.raises(CftError, match=message) as raised:
        evaluate(broken(change), evaluation_set(), RECIPE, model="stage 1")
    assert str(raised.value).startswith("stage 1: ")
    assert "\n" not in str(raised.value)
    assert ";" in str(raised.value)


def test_a_set_without_anything_is_an_error():
    with pytest.raises(CftError, match=r"evaluation set words: no pairs.*; hold out more"):
        evaluate(
            TrigramEncoder(), evaluation_set(pairs=[], sts=[], triplets=[]), RECIPE, model="any"
        )


def test_the_same_seed_gives_the_same_intervals(lexical):
    again = evaluate(TrigramEncoder(), evaluation_set(), RECIPE, model="lexical").evaluation
    assert again.figures == lexical.evaluation.figures
    other = evaluate(
        TrigramEncoder(), evaluation_set(), RECIPE.model_copy(update={"seed": 9}), model="lexical"
    ).evaluation
    name = "mean/mrr"
    assert other.figures[name] != again.figures[name]
    assert other.figures[name].value == again.figures[name].value


def test_scaling_the_vectors_changes_nothing(lexical):
    scaled = evaluate(broken(lambda v: v * 37), evaluation_set(), RECIPE, model="lexical")
    for name, figure in lexical.evaluation.figures.items():
        assert scaled.evaluation.figures[name].value == pytest.approx(figure.value, abs=1e-5)


def test_the_real_encoder_is_evaluated(tmp_path: Path):
    texts = [text for pair in evaluation_set().pairs for text in (pair.sanskrit, pair.english)]
    nano = NanoRecipe(
        vocab_size=512, hidden_size=32, num_layers=1, num_heads=2, max_steps=20, batch_tokens=512
    )
    encoder = Encoder.load(make_backbone(texts * 12, nano, tmp_path / "nano"), device="cpu")
    result = evaluate(encoder, evaluation_set(), RECIPE, model="nano")
    assert set(result.evaluation.figures) == NAMES
    np.testing.assert_allclose(
        result.items["texts/vector"][:4], encoder.encode(texts[:4], progress=False), atol=1e-5
    )
