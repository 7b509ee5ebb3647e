"""What stands before the right answer, against the whole matrix of cosines."""

import numpy as np
import pytest

from cft.corpora.evalset import EvalPair
from cft.evaluation.misses import SIDES, has_neighbours, misses
from cft.evaluation.suites.held_out import evaluate
from cft.text import text_id
from tests.lexical import RECIPE, TrigramEncoder, evaluation_set
from tests.report import answering, lexical, trika


@pytest.mark.parametrize("prompts", [("", ""), ("query: ", "passage: ")])
@pytest.mark.parametrize("way", SIDES)
def test_misses_are_what_the_whole_matrix_says(way, prompts):
    encoder = TrigramEncoder()
    query_prompt, document_prompt = prompts
    options = {"query_prompt": query_prompt, "document_prompt": document_prompt}
    pairs = trika().pairs
    items = evaluate(
        encoder, evaluation_set(pairs=pairs, sts=[], triplets=[]), RECIPE, model="m", **options
    ).items
    asked = [getattr(pair, SIDES[way][0]) for pair in pairs]
    answers = [getattr(pair, SIDES[way][1]) for pair in pairs]
    cosine_PP = (
        encoder.encode(asked, prompt=query_prompt)
        @ encoder.encode(answers, prompt=document_prompt).T
    )
    found = misses(items, way, 4)
    assert {one.row for one in found} == set(np.flatnonzero(items[f"{way}/rank"] > 1).tolist())
    assert [one.rank for one in found] == sorted((one.rank for one in found), reverse=True)
    ids = [text_id(text) for text in answers]
    for one in found:
        cosine_P, right = cosine_PP[one.row], cosine_PP[one.row, one.row]
        assert one.right == pytest.approx(right, abs=1e-6)
        better = sorted((x for x in cosine_P if x > right + 2e-6), reverse=True)
        assert one.cosines[: len(better)] == pytest.approx(better[:4], abs=1e-6)
        assert len(one.before) == len(one.cosines) <= 4
        for document, cosine in zip(one.before, one.cosines, strict=True):
            assert cosine == pytest.approx(cosine_P[ids.index(document)], abs=1e-6)


def test_a_text_that_answers_in_another_row_is_never_wrong():
    """One query with two right answers: neither stands before the other."""
    shared = [
        EvalPair(sanskrit="alpha beta gamma", english="alpha beta delta"),
        EvalPair(sanskrit="alpha beta gamma", english="alpha zeta"),
        EvalPair(sanskrit="omega psi kappa", english="alpha beta gamma"),
    ]
    items = evaluate(
        TrigramEncoder(), evaluation_set(pairs=shared, sts=[], triplets=[]), RECIPE, model="m"
    ).items
    found = {one.row: one for one in misses(items, "sa_en")}
    assert found[0].rank == found[1].rank == 2
    # The first answer is nearer than the second, and all the same no mistake.
    assert found[0].right > found[1].right
    wrong = (text_id("alpha beta gamma"),)
    assert found[0].before == found[1].before == wrong


def test_who_finds_everything_misses_nothing():
    assert misses(answering().items, "sa_en") == []
    assert has_neighbours(lexical().items)
    assert not has_neighbours({})
