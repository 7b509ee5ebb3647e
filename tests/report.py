"""Real results for the report: an encoder of trigrams on Trika verses, with and without English."""

import functools

from cft.corpora.evalset import EvalSet
from cft.corpora.trika import load_trika
from cft.evaluation.result import SuiteResult
from cft.evaluation.suites.held_out import evaluate
from tests.lexical import RECIPE, TrigramEncoder


@functools.cache
def trika() -> EvalSet:
    """The embedded verses; a set of which no test may change anything."""
    return load_trika().to_evalset()


@functools.cache
def lexical() -> SuiteResult:
    """Character trigrams: nothing in common between the scripts."""
    return evaluate(TrigramEncoder(), trika(), RECIPE, model="trigrams")


@functools.cache
def answering() -> SuiteResult:
    """A Sanskrit verse is encoded as its English: every right answer is found."""
    english_of = {pair.sanskrit: pair.english for pair in trika().pairs}

    class Answering(TrigramEncoder):
        def vector(self, text):
            return super().vector(english_of.get(text, text))

    return evaluate(Answering(width=512), trika(), RECIPE, model="answering")
