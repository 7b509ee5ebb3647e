"""Candidates scored by the cosine of an encoder, shard by shard."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from cft.errors import CftError
from cft.mining.question import Question
from cft.mining.workshop import Workshop
from cft.model.encoder import Encoder
from cft.model.identity import identity_of

_TEXTS_A_PART = 2048  # encoded between two savings


class Vectors:
    """Unit vectors of a list of texts, encoded part by part and mapped from disk.

    The parts have one size whatever the size of a search's shards: the texts that share a pack
    decide the last bits of a vector.
    """

    def __init__(
        self, name: str, texts: Sequence[str], encoder: Encoder, prompt: str, shop: Workshop,
        batch_tokens: int,
    ) -> None:  # fmt: skip
        self._parts: list[np.ndarray] = []
        with tqdm(total=len(texts), desc=f"encode {name}", unit="text") as bar:
            for start in range(0, len(texts), _TEXTS_A_PART):
                some = texts[start : start + _TEXTS_A_PART]

                def encoded(some: Sequence[str] = some) -> np.ndarray:
                    return _checked(
                        encoder.encode(
                            some, prompt=prompt, batch_tokens=batch_tokens, progress=False
                        ),
                        some,
                    )

                self._parts.append(shop.matrix(f"vectors-{name}-{start}", encoded))
                bar.update(len(some))

    def rows(self, row_M: np.ndarray) -> np.ndarray:
        """Vectors of the texts in the given rows, ``float32 [M, D]``."""
        found_MD = np.empty((len(row_M), self._parts[0].shape[1]), dtype=np.float32)
        part_M, within_M = np.divmod(row_M, _TEXTS_A_PART)
        for part in np.unique(part_M).tolist():
            here_M = part_M == part
            found_MD[here_M] = self._parts[part][within_M[here_M]]
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
        device: where they are multiplied.
    """

    rows_at_once = 512

    def __init__(
        self, question: Question, pool_P: np.ndarray, queries: Placed, documents: Placed,
        shard_size: int, device: torch.device,
    ) -> None:  # fmt: skip
        self._question, self._queries = question, queries
        self._rest = (documents, pool_P, shard_size, device)

    def ask(self, row_Q: np.ndarray) -> "DenseAnswers":
        """Take the anchors of the given rows as queries."""
        query_QD = _gathered(self._queries, self._question.anchor_N[row_Q])
        return DenseAnswers(query_QD, *self._rest)


class DenseAnswers:
    """Cosines of some anchors with every candidate of their group, computed when asked for."""

    def __init__(
        self, query_QD: np.ndarray, documents: Placed, pool_P: np.ndarray, size: int,
        device: torch.device,
    ) -> None:  # fmt: skip
        self._query_QD, self._documents, self._device = query_QD, documents, device
        self._pool_P, self._size = pool_P, size
        self.by_positive_Q = np.zeros(len(query_QD), dtype=bool)

    def pairs(self, text_QM: np.ndarray) -> np.ndarray:
        """Cosines of chosen documents, ``float32 [Q, M]``."""
        columns = [
            np.einsum("qd,qd->q", self._query_QD, _gathered(self._documents, text_Q), dtype=float)
            for text_Q in text_QM.T
        ]
        return np.array(columns, dtype=np.float32).reshape(text_QM.T.shape).T

    def shards(self) -> Iterator[tuple[int, np.ndarray]]:
        """First place and cosines ``float32 [Q, S]`` of every shard of the pool."""
        for start in range(0, len(self._pool_P), self._size):
            texts_S = self._pool_P[start : start + self._size]
            yield start, cosines(self._query_QD, _gathered(self._documents, texts_S), self._device)

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
        self.identity = identity_of(backbone, adapter)

    def groups(
        self, question: Question, shop: Workshop, shard_size: int, batch_tokens: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray, DenseScores]]:
        """Rows, candidates and scores of every group of the question; encodes each text once."""
        encoder = Encoder.load(*self._arguments)
        contract = encoder.contract
        rest = (encoder, shop, batch_tokens)
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
            scores = DenseScores(question, pool_P, queries, documents, shard_size, encoder.device)
            yield row_N, pool_P, scores


def cosines(query_QD: np.ndarray, document_SD: np.ndarray, device: torch.device) -> np.ndarray:
    """Products of unit rows, ``float32 [Q, S]``, each summed in float64 and then rounded.

    Sums in float32 would come out by the place of a text in its shard, as matrix kernels add
    differently at their edges; then near ties would be decided by the size of the shards.
    """
    if device.type == "mps":  # knows no float64
        device = torch.device("cpu")
    query, document = (
        torch.from_numpy(one).to(device, torch.float64) for one in (query_QD, document_SD)
    )
    return (query @ document.T).float().cpu().numpy()


def _vectors(
    name: str, question: Question, wanted_U: np.ndarray, prompt: str, encoder: Encoder,
    shop: Workshop, batch_tokens: int,
) -> Placed:  # fmt: skip
    """Vectors of the wanted texts, and for every text its row among them."""
    texts = [question.texts[one] for one in np.flatnonzero(wanted_U).tolist()]
    vectors = Vectors(name, texts, encoder, prompt, shop, batch_tokens)
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
