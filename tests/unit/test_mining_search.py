"""Margin, ranks, exclusions and ties, against one loop over all candidates."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cft.mining.question import Pairs, Question
from cft.mining.search import hard_negatives
from cft.mining.settings import MiningSettings


class Matrix:
    """Scores that are written down: of every text as an anchor with every other."""

    rows_at_once = 100

    def __init__(self, question, score_UU, pool_P, shard):
        self.question, self.score_UU, self.pool_P, self.shard = question, score_UU, pool_P, shard

    def ask(self, row_Q):
        self.anchor_Q = self.question.anchor_N[row_Q]
        self.by_positive_Q = np.zeros(len(row_Q), bool)
        return self

    def pairs(self, text_QM):
        return self.score_UU[self.anchor_Q[:, None], text_QM]

    def shards(self):
        for start in range(0, len(self.pool_P), self.shard):
            some = self.pool_P[start : start + self.shard]
            yield start, self.score_UU[self.anchor_Q[:, None], some]

    def allowed(self, score_QS):
        return score_QS != 2.5  # as a candidate that shares no word is none


def slowly(question, score_UU, row, settings):
    """Ranked candidates of one row."""
    anchor, positive = question.anchor_N[row], question.positive_N[row]
    known = {anchor}
    for a, p in zip(question.anchor_N, question.positive_N, strict=True):
        known |= {p} if a == anchor else set()
        known |= {a} if p == anchor else set()
    best = score_UU[anchor, positive]
    bound = best - np.float32(settings.margin) * abs(best)
    kept = [
        (-score_UU[anchor, text], question.ids_U[text], text)
        for text in np.flatnonzero(question.document_U)
        if text not in known and score_UU[anchor, text] <= bound and score_UU[anchor, text] != 2.5
    ]
    ranked = [text for _, _, text in sorted(kept)][settings.range_min : settings.range_max]
    return (ranked + [-1] * settings.num_negatives)[: settings.num_negatives]


@given(st.data())
def test_a_row_gets_what_a_loop_gives_it(data):
    texts = [f"text {n}" for n in range(data.draw(st.integers(4, 12)))]
    one = st.sampled_from(texts)
    rows = data.draw(st.lists(st.tuples(one, one, one), min_size=1, max_size=8))
    pairs = Pairs([a for a, _, _ in rows], [p for _, p, _ in rows], [(n,) for _, _, n in rows],
                  ["x"] * len(rows))  # fmt: skip
    question = Question.of(pairs, same_script=data.draw(st.booleans()))
    seed = data.draw(st.integers(0, 1000))
    values = np.array([-2.0, -1.0, -0.95, 0.0, 0.5, 0.95, 1.0, 2.5], np.float32)
    count = len(question.ids_U)
    score_UU = np.random.default_rng(seed).choice(values, (count, count))
    first = data.draw(st.integers(0, 2))
    settings = MiningSettings(
        num_negatives=data.draw(st.integers(1, 3)), range_min=first,
        range_max=first + data.draw(st.integers(3, 5)),
        margin=data.draw(st.sampled_from([0, 0.05, 0.5])),
    )  # fmt: skip
    ((row_N, pool_P),) = question.groups()
    scores = Matrix(question, score_UU, pool_P, shard=data.draw(st.integers(1, 13)))
    found = hard_negatives(question, row_N, pool_P, scores.ask(row_N), settings)
    for row in row_N.tolist():
        expected = slowly(question, score_UU, row, settings)
        assert found["negative_QK"][row].tolist() == expected
        anchor = question.anchor_N[row]
        for text, score in zip(expected, found["mined_QK"][row].tolist(), strict=True):
            assert score == (score_UU[anchor, text] if text >= 0 else -np.inf)
        assert found["given_QG"][row, 0] == score_UU[anchor, question.given_NK[row, 0]]


def test_a_positive_below_zero_keeps_the_direction_of_the_margin():
    pairs = Pairs(["anchor"], ["positive"], [("a", "b", "c", "d")], ["x"])
    question = Question.of(pairs, same_script=True)
    ((row_N, pool_P),) = question.groups()
    score_UU = np.zeros((6, 6), np.float32)
    wanted = dict(zip(["positive", "a", "b", "c", "d"], [-0.5, -0.49, -0.52, -0.53, -0.9],
                      strict=True))  # fmt: skip
    anchor = question.texts.index("anchor")
    for text, score in wanted.items():
        score_UU[anchor, question.texts.index(text)] = score
    scores = Matrix(question, score_UU, pool_P, 2).ask(row_N)
    found = hard_negatives(
        question, row_N, pool_P, scores, MiningSettings(num_negatives=2, margin=0.05)
    )
    assert [question.texts[one] for one in found["negative_QK"][0]] == ["c", "d"]
