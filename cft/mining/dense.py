"""Candidates scored by the cosine of an encoder, shard by shard."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cft.errors import CftError
from cft.files import digest_folder
from cft.mining.question import Question
from cft.mining.workshop import Workshop
from cft.model.backbone import backbone_digest
from cft.model.encoder import Encoder

_TEXTS_AT_ONCE = 2048  # between two moves of the progress bar
_TILE = 64  # matrices are padded to whole tiles of the matrix product, see `cosines`


class Vectors:
    """Unit vectors of a list of texts, encoded shard by shard and mapped from disk."""

    def __init__(
        self, name: str, texts: Sequence[str], encoder: Encoder, prompt: str, shop: Workshop,
        shard_size: int, batch_tokens: int,
    ) -> None:  # fmt: skip
        self._size = shard_size
        self._shards: list[np.ndarray] = []
        with tqdm(total=len(texts), desc=f"encode {name}", unit="text") as bar:
            for start in range(0, len(texts), shard_size):
                shard = texts[start : start + shard_size]

                def encoded(shard: Sequence[str] = shard) -> np.ndarray:
                    parts = []
                    for first in range(0, len(shard), _TEXTS_AT_ONCE):
                        some = shard[first : first + _TEXTS_AT_ONCE]
                        parts.append(
                            encoder.encode(
                                some, prompt=prompt, batch_tokens=batch_tokens, progress=False
                            )
                        )
                        bar.update(len(some))
                    return _checked(np.concatenate(parts), shard)

                part = f"vectors-{name}-{start}-{start + len(shard)}"
                self._shards.append(shop.matrix(part, encoded))
                bar.update(start + len(shard) - bar.n)

    def rows(self, row_M: np.ndarray) -> np.ndarray:
        """Vectors of the texts in the given rows, ``float32 [M, D]``."""
        found_MD = np.empty((len(row_M), self._shards[0].shape[1]), dtype=np.float32)
        shard_M, within_M = np.divmod(row_M, self._size)
        for shard in np.unique(shard_M).tolist():
            here_M = shard_M == shard
            found_MD[here_M] = self._shards[shard][within_M[here_M]]
        return found_MD


Placed = tuple[Vectors, np.ndarray]  # vectors, and for every text its row among them


class DenseScores:
    """Cosines of rows of a question with the candidates of one group.

    Args:
        question: the rows.
        pool_P: candidates of this group, numbers of texts.
        queries: vectors of the anchors, and for every text its row among them.
        documents: vectors of the candidates, and for every text its row among them.
        shard_size: candidates multiplied at once.
    """

    rows_at_once = 512

    def __init__(
        self, question: Question, pool_P: np.ndarray, queries: Placed, documents: Placed,
        shard_size: int,
    ) -> None:  # fmt: skip
        self._question, self._pool_P, self._size = question, pool_P, shard_size
        self._queries, self._documents = queries, documents

    def ask(self, row_Q: np.ndarray) -> "DenseAnswers":
        """Take the anchors of the given rows as queries."""
        query_QD = _gathered(self._queries, self._question.anchor_N[row_Q])
        return DenseAnswers(query_QD, self._documents, self._pool_P, self._size)


class DenseAnswers:
    """Cosines of some anchors with every candidate of their group, computed when asked for."""

    def __init__(
        self, query_QD: np.ndarray, documents: Placed, pool_P: np.ndarray, size: int
    ) -> None:
        self._query_QD, self._documents = query_QD, documents
        self._pool_P, self._size = pool_P, size
        self.by_positive_Q = np.zeros(len(query_QD), dtype=bool)

    def pairs(self, text_QM: np.ndarray) -> np.ndarray:
        """Cosines of chosen documents, ``float32 [Q, M]``."""
        columns = [
            np.einsum("qd,qd->q", self._query_QD, _gathered(self._documents, text_Q))
            for text_Q in text_QM.T
        ]
        return np.stack(columns, axis=1) if columns else np.zeros(text_QM.shape, np.float32)

    def shards(self) -> Iterator[tuple[int, np.ndarray]]:
        """First place and cosines ``float32 [Q, S]`` of every shard of the pool."""
        for start in range(0, len(self._pool_P), self._size):
            texts_S = self._pool_P[start : start + self._size]
            yield start, cosines(self._query_QD, _gathered(self._documents, texts_S))

    def allowed(self, score_QS: np.ndarray) -> np.ndarray:
        """Any two texts have a cosine, ``bool [Q, S]``."""
        return np.ones(score_QS.shape, dtype=bool)


class DenseEngine:
    """Scores by a backbone, perhaps with an adapter; loaded when the first text is encoded."""

    def __init__(
        self, backbone: Path, adapter: Path | None = None, device: str = "auto",
        trust_remote_code: bool = False,
    ) -> None:  # fmt: skip
        if not Path(backbone).is_dir():
            raise CftError(f"--backbone: {backbone}: no such folder; give that of a causal LM")
        if adapter is not None and not Path(adapter).is_dir():
            raise CftError(f"--adapter: {adapter}: no such folder; give that of an adapter")
        self._arguments = (Path(backbone), adapter, device, None, trust_remote_code)
        self.identity = {
            "backbone": backbone_digest(backbone),
            "adapter": digest_folder(Path(adapter)) if adapter else None,
        }

    def groups(
        self, question: Question, shop: Workshop, shard_size: int, batch_tokens: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray, DenseScores]]:
        """Rows, candidates and scores of every group of the question; encodes each text once."""
        encoder = Encoder.load(*self._arguments)
        contract = encoder.contract
        rest = (encoder, shop, shard_size, batch_tokens)
        documents_U = question.document_U
        anchors_U = np.zeros(len(question.ids_U), dtype=bool)
        anchors_U[question.anchor_N] = True
        if contract.query_prompt == contract.document_prompt:
            both = _vectors(
                "texts", question, documents_U | anchors_U, contract.query_prompt, *rest
            )
            queries = documents = both
        else:
            documents = _vectors(
                "documents", question, documents_U, contract.document_prompt, *rest
            )
            queries = _vectors("queries", question, anchors_U, contract.query_prompt, *rest)
        for row_N, pool_P in question.groups():
            yield row_N, pool_P, DenseScores(question, pool_P, queries, documents, shard_size)


def cosines(query_QD: np.ndarray, document_SD: np.ndarray) -> np.ndarray:
    """Products of unit rows, ``float32 [Q, S]``.

    Both sides are padded to whole tiles: at ragged edges, and for single rows, a BLAS library
    adds in another order, and a text's score would depend on the shard that it is in.
    """
    padded = [
        np.concatenate([one, np.zeros((-len(one) % _TILE, one.shape[1]), np.float32)])
        for one in (query_QD, document_SD)
    ]
    return (padded[0] @ padded[1].T)[: len(query_QD), : len(document_SD)]


def _vectors(
    name: str, question: Question, wanted_U: np.ndarray, prompt: str, encoder: Encoder,
    shop: Workshop, shard_size: int, batch_tokens: int,
) -> Placed:  # fmt: skip
    """Vectors of the wanted texts, and for every text its row among them."""
    texts = [question.texts[one] for one in np.flatnonzero(wanted_U).tolist()]
    vectors = Vectors(name, texts, encoder, prompt, shop, shard_size, batch_tokens)
    return vectors, np.cumsum(wanted_U) - 1


def _gathered(placed: Placed, text_M: np.ndarray) -> np.ndarray:
    vectors, row_U = placed
    return vectors.rows(row_U[text_M])


def _checked(vector_SD: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    finite_S = np.isfinite(vector_SD).all(axis=1)
    if not finite_S.all():
        row = int(np.argmin(finite_S))
        raise CftError(
            f"encoder: {int((~finite_S).sum())} of {len(texts)} vectors are NaN or infinite, first "
            f"that of {texts[row][:40]!r}; check the checkpoint and its number format"
        )
    return np.ascontiguousarray(vector_SD, dtype=np.float32)
