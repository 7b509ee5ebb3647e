"""Mining by words: the library's scores are those of the formula, and Sanskrit words stay whole."""

import math
import sys
from collections import Counter

import numpy as np
import pytest

from cft.errors import CftError
from cft.mining.lexical import LexicalEngine, LexicalScores, words
from cft.mining.mine import mine
from cft.mining.question import Pairs, Question
from cft.mining.settings import MiningSettings
from cft.mining.workshop import Workshop
from cft.recipe import DataRecipe
from cft.text import normalise
from cft.triplets.prepare import load_triplets, prepare
from tests import mining


def lucene(query: str, document: str, collection: list[str], k1=1.2, b=0.75) -> float:
    """BM25 in Lucene's variant with exact lengths, one word after the other."""
    split = [words(text) for text in collection]
    mean = sum(map(len, split)) / len(split)
    counts, length = Counter(words(document)), len(words(document))
    score = 0.0
    for word in words(query):
        n = sum(word in text for text in split)
        idf = math.log(1 + (len(split) - n + 0.5) / (n + 0.5))
        score += idf * counts[word] / (counts[word] + k1 * (1 - b + b * length / mean))
    return score


def collection(pairs: Pairs, devanagari: bool) -> list[str]:
    texts = {*pairs.positive, *(text for row in pairs.negatives for text in row)}
    return [normalise(t) for t in texts if mining.mostly_devanagari(t) == devanagari]


def test_words_keep_their_vowel_signs():
    assert words("श्रीभैरव उवाच॥ देवि।") == ["श्रीभैरव", "उवाच", "देवि"]
    assert words("The King's sword, 2nd!") == ["the", "king", "s", "sword", "2nd"]


def test_scores_are_those_of_the_formula(tmp_path):
    pairs = mining.rows()
    question = Question.of(pairs, same_script=True)
    for number, (row_N, pool_P) in enumerate(question.groups()):
        scores = LexicalScores(question, pool_P, Workshop(tmp_path), str(number), shard_size=7)
        answers = scores.ask(row_N)
        shards = list(answers.shards())
        assert [start for start, _ in shards] == list(range(0, len(pool_P), 7))
        score_QP = np.concatenate([score for _, score in shards], axis=1)
        texts = [question.texts[one] for one in pool_P.tolist()]
        for query, row in enumerate(row_N.tolist()):
            positive = question.texts[question.positive_N[row]]
            asks = question.texts[question.anchor_N[row]]
            if lucene(asks, positive, texts) == 0:
                asks = positive
            assert answers.by_positive_Q[query] == (asks == positive)
            expected = [lucene(asks, text, texts) for text in texts]
            np.testing.assert_allclose(score_QP[query], expected, rtol=1e-5)
    assert number == 1


@pytest.mark.parametrize("shard_size", [4, 16_384])
def test_what_is_found_is_what_loops_find(tmp_path, shard_size):
    pairs = mining.rows()
    texts = {script: collection(pairs, script) for script in (True, False)}

    def score(anchor, text):
        own = texts[mining.mostly_devanagari(text)]
        across = mining.mostly_devanagari(anchor) != mining.mostly_devanagari(text)
        return lucene(positive_of[anchor] if across else anchor, text, own)

    # A row across scripts asks with its positive: one row of each anchor and kind.
    positive_of, rows = {}, []
    for row, (anchor, positive) in enumerate(zip(pairs.anchor, pairs.positive, strict=True)):
        if positive_of.setdefault(anchor, positive) == positive:
            rows.append(row)
    settings = MiningSettings(method="bm25", num_negatives=2, shard_size=shard_size)
    mine(pairs, LexicalEngine(), settings, tmp_path / "mined.jsonl")
    found = {(r["anchor"], r["positive"]): r for r in mining.mined(tmp_path / "mined.jsonl")}
    compared = 0
    expected = mining.slowly(pairs, score, 2, settings.margin)
    for row in rows:
        anchor, positive = pairs.anchor[row], pairs.positive[row]
        across = mining.mostly_devanagari(positive) != mining.mostly_devanagari(anchor)
        if not across and score(anchor, positive) == 0:
            continue
        one = found.get((anchor, positive))
        if expected[row] is None or any(score(anchor, text) == 0 for text in expected[row]):
            assert one is None
            continue
        assert one is not None
        scores = [[score(anchor, text) for text in texts] for texts in (
            one["negatives"], expected[row])]  # fmt: skip
        assert scores[0] == pytest.approx(scores[1], rel=1e-5)
        compared += 1
    assert compared > 20


def test_a_pool_without_words_and_a_library_that_is_missing(tmp_path, monkeypatch):
    pairs = Pairs(["anchor one"], ["॥"], [("।",)], ["x"])
    with pytest.raises(CftError, match="no candidate has a word"):
        mine(pairs, LexicalEngine(), MiningSettings(method="bm25"), tmp_path / "m.jsonl")
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(CftError, match=r"bm25s is not installed; `pip install 'cft\[eval\]'`"):
        LexicalEngine()


def test_drawn_negatives_are_as_easy_as_random_texts_and_mined_ones_are_harder(tmp_path):
    stage1 = load_triplets(prepare(DataRecipe(num_rows=800), tmp_path / "data"), "stage1")
    settings = MiningSettings(method="bm25", num_negatives=1)
    report = mine(Pairs.of(stage1), LexicalEngine(), settings, tmp_path / "mined.jsonl")
    score = {name: one["mean"] for name, one in report["score"].items()}
    assert report["rows_written"] > 0.95 * report["rows"] > 1200
    assert abs(score["given"] - score["random"]) < 0.1 * score["positive"]
    assert score["random"] + 0.1 * score["positive"] < score["mined"] < score["positive"]
