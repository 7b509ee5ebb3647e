"""Candidates scored by the words that they share with a query: BM25.

The variant is Lucene's with exact document lengths (Kamphuis et al., "Which BM25 Do You Mean?",
ECIR 2020): the sum over the query's words of ln(1 + (N - n + 0.5) / (n + 0.5)) times
f / (f + k1 (1 - b + b l / L)), with k1 = 1.2 and b = 0.75.
"""

import unicodedata
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

from cft.errors import CftError
from cft.files import whole_folder
from cft.mining.question import Question
from cft.mining.workshop import Workshop

K1, B = 1.2, 0.75
_CELLS = 1 << 24  # scores in memory at once


class _Blanks(dict[int, str | int]):
    """A translation table that turns every sign which is no letter, mark or digit into a space."""

    def __missing__(self, code: int) -> str | int:
        keep = unicodedata.category(chr(code))[0] in "LMN"
        return self.setdefault(code, code if keep else " ")


_BLANKS = _Blanks()


def words(text: str) -> list[str]:
    """Words of a text, case folded, without punctuation.

    A vowel sign is no letter to a regular expression's ``\\w``, which would cut Sanskrit words
    to pieces; here marks belong to their word.
    """
    return text.casefold().translate(_BLANKS).split()


class LexicalScores:
    """An index of one group's candidates, in the workshop's folder and mapped from there."""

    def __init__(
        self, question: Question, pool_P: np.ndarray, shop: Workshop, name: str, shard_size: int
    ) -> None:
        bm25s = _library()
        self._question, self._size = question, shard_size
        folder = shop.folder / f"index-{name}"
        if not folder.exists():
            documents = [words(question.texts[one]) for one in pool_P.tolist()]
            if not any(documents):
                raise CftError("mining: no candidate has a word; mine with --method encoder")
            made = bm25s.BM25(k1=K1, b=B, method="lucene")
            made.index(documents, show_progress=False)
            with whole_folder(folder) as beside:
                made.save(str(beside), show_progress=False)
        self._index = bm25s.BM25.load(str(folder), mmap=True, show_progress=False)
        # A slice of a memmap object costs more than the few numbers in it.
        self._index.scores = {
            name: np.asarray(one) if isinstance(one, np.memmap) else one
            for name, one in self._index.scores.items()
        }
        self._place_U = np.full(len(question.ids_U), -1, dtype=np.int64)
        self._place_U[pool_P] = np.arange(len(pool_P))
        self.rows_at_once = max(1, min(256, _CELLS // len(pool_P)))

    def ask(self, row_Q: np.ndarray) -> "LexicalAnswers":
        """Score all candidates for the given rows.

        A row asks with its anchor. Where anchor and positive share no word, as a verse and its
        translation, it asks with its positive: hard are then the texts worded like that one.
        """
        score_QP, by_positive_Q = [], np.zeros(len(row_Q), dtype=bool)
        for query, row in enumerate(row_Q.tolist()):
            positive = int(self._question.positive_N[row])
            score_P = self._scores(int(self._question.anchor_N[row]))
            if score_P[self._place_U[positive]] <= 0:
                by_positive_Q[query] = True
                score_P = self._scores(positive)
            score_QP.append(score_P)
        return LexicalAnswers(np.stack(score_QP), by_positive_Q, self._place_U, self._size)

    def _scores(self, text: int) -> np.ndarray:
        known = self._index.get_tokens_ids(words(self._question.texts[text]))
        return self._index.get_scores_from_ids(known)


class LexicalAnswers:
    """Scores of some rows with every candidate of their group."""

    def __init__(
        self, score_QP: np.ndarray, by_positive_Q: np.ndarray, place_U: np.ndarray, size: int
    ) -> None:
        self._score_QP, self._place_U, self._size = score_QP, place_U, size
        self.by_positive_Q = by_positive_Q

    def pairs(self, text_QM: np.ndarray) -> np.ndarray:
        """Scores of chosen texts, ``float32 [Q, M]``; NaN for texts that are no candidates."""
        place_QM = self._place_U[text_QM]
        score_QM = self._score_QP[np.arange(len(place_QM))[:, None], place_QM]
        return np.where(place_QM < 0, np.float32(np.nan), score_QM)

    def shards(self) -> Iterator[tuple[int, np.ndarray]]:
        """First place and scores ``float32 [Q, S]`` of every shard of the pool."""
        for start in range(0, self._score_QP.shape[1], self._size):
            yield start, self._score_QP[:, start : start + self._size]

    def allowed(self, score_QS: np.ndarray) -> np.ndarray:
        """A candidate that shares no word with the query is none, ``bool [Q, S]``."""
        return score_QS > 0


class LexicalEngine:
    """Scores by BM25; needs no model."""

    def __init__(self) -> None:
        _library()
        self.identity: dict[str, Any] = {"bm25s": version("bm25s"), "k1": K1, "b": B}

    def groups(
        self, question: Question, shop: Workshop, shard_size: int, batch_tokens: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray, LexicalScores]]:
        """Rows, candidates and scores of every group of the question; indexes each group once."""
        for number, (row_N, pool_P) in enumerate(question.groups()):
            yield row_N, pool_P, LexicalScores(question, pool_P, shop, str(number), shard_size)


def _library() -> Any:
    try:
        import bm25s
    except ImportError:
        raise CftError(
            "--method bm25: the package bm25s is not installed; `pip install 'cft[eval]'`, or "
            "mine with --method encoder"
        ) from None
    return bm25s
