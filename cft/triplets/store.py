"""The tokenised store: what the training process reads, and all that it reads.

``tokens.arrow`` holds the token ids of every distinct text once, without padding, sorted by text
id; ``texts.arrow`` the texts in the same order (compressed; read only to name a text);
``triplets.arrow`` the rows of text ids; ``positives.arrow`` for each anchor every positive that
any row gives it. Where queries and documents have different prompts, a text has one sequence of
tokens for each role it plays, in two columns; its id stays one.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from cft.errors import CftError
from cft.model.text_contract import TextContract, tokenizer_digest
from cft.triplets.manifest import load_manifest
from cft.triplets.store_files import (
    POSITIVES,
    TEXTS,
    TEXTS_PER_BATCH,
    TOKENS,
    TRIPLETS,
    build_store,
)
from cft.triplets.tables import map_file, numbers, table_of

__all__ = ["TokenStore", "build_store", "require_fit"]

Role = Literal["document", "query"]


class TokenStore:
    """A store on disk, memory-mapped: opening it reads nothing but ids and lengths.

    Attributes:
        folder: where it lies.
        rows: triplets.
        texts: distinct texts.
        num_negatives: hard negatives of each triplet, K.
        has_query_tokens: whether queries have tokens of their own, by a prompt of their own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._map = map_file(self.folder / TOKENS)
        tokens = table_of(self._map, self.folder / TOKENS)
        self._ids_U = numbers(tokens["id"])
        # Every token column lies in the one mapped file: a text is a range of this array.
        self._flat = np.frombuffer(self._map, dtype=np.int32, count=self._map.size // 4)
        self._ranges: dict[str, tuple[np.ndarray, np.ndarray]] = {
            role: self._ranges_of(tokens[role])
            for role in ("document", "query")
            if role in tokens.column_names
        }
        path = self.folder / TRIPLETS
        triplets = table_of(map_file(path), path)
        self._anchor_N, self._positive_N = (
            numbers(triplets["anchor"]),
            numbers(triplets["positive"]),
        )
        self.num_negatives: int = triplets.schema.field("negatives").type.list_size
        flat = numbers(pa.chunked_array([c.values for c in triplets["negatives"].chunks]))
        self._negative_NK = flat.reshape(-1, self.num_negatives)
        path = self.folder / POSITIVES
        positives = table_of(map_file(path), path).combine_chunks()
        self._anchor_A = numbers(positives["anchor"])
        lists = positives["positives"].chunk(0)
        self._positive_offset_A = lists.offsets.to_numpy()
        self._positive_P = lists.values.to_numpy()

    @classmethod
    def open(cls, folder: Path) -> "TokenStore":
        """Open a store that :func:`build_store` wrote.

        Raises:
            CftError: a file is missing or not whole.
        """
        return cls(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenStore, (self.folder,)  # a worker process maps the files anew

    @property
    def rows(self) -> int:
        """Number of triplets."""
        return len(self._anchor_N)

    @property
    def texts(self) -> int:
        """Number of distinct texts."""
        return len(self._ids_U)

    @property
    def has_query_tokens(self) -> bool:
        """Whether the role of a text decides its tokens."""
        return "query" in self._ranges

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest: that of the data, and of the store under ``store``."""
        return load_manifest(self.folder)

    @cached_property
    def contract(self) -> TextContract:
        """The text contract that the store was tokenised under."""
        return TextContract.load(self.folder)

    def triplet_ids(self, rows_B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Text ids of the given rows: ``anchor_B``, ``positive_B``, ``negative_BK``, ``int64``."""
        return self._anchor_N[rows_B], self._positive_N[rows_B], self._negative_NK[rows_B]

    def known_positives(self, anchor_ids_B: np.ndarray) -> np.ndarray:
        """Every positive that any row of the store gives each anchor text, ``int64 [B, P]``.

        P is the largest number among the given anchors; shorter rows repeat their first value.
        A text that is no row's anchor has itself as its only entry.
        """
        at_B = np.searchsorted(self._anchor_A, anchor_ids_B).clip(max=len(self._anchor_A) - 1)
        known_B = self._anchor_A[at_B] == anchor_ids_B
        start_B = self._positive_offset_A[at_B]
        count_B = np.where(known_B, self._positive_offset_A[at_B + 1] - start_B, 1)
        column_P = np.arange(count_B.max(initial=1))
        within_BP = np.where(column_P < count_B[:, None], column_P, 0)
        found_BP = self._positive_P[start_B[:, None] + within_BP]
        return np.where(known_B[:, None], found_BP, anchor_ids_B[:, None])

    def tokens(self, id: int, role: Role = "document") -> np.ndarray:
        """Token ids of one text, ``int32 [L]``, EOS last: a read-only view of the file.

        Raises:
            CftError: the store has no such text, or not in this role.
        """
        start_B, length_B = self._located(np.array([id], dtype=np.int64), role)
        return self._flat[start_B[0] : start_B[0] + length_B[0]]

    def batch_tokens(
        self, ids_B: np.ndarray, role: Role = "document"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of many texts, one after the other: ``int32 [T]``, and lengths ``int64 [B]``.

        Raises:
            CftError: the store lacks one of the texts, or lacks it in this role.
        """
        start_B, length_B = self._located(ids_B, role)
        end_B = np.cumsum(length_B)
        total = int(end_B[-1]) if len(end_B) else 0
        position_T = np.arange(total) + np.repeat(start_B - (end_B - length_B), length_B)
        return self._flat[position_T], length_B

    def lengths(self, ids_B: np.ndarray, role: Role = "document") -> np.ndarray:
        """Numbers of tokens, ``int64 [B]``; for planning batches without reading tokens."""
        return self._located(ids_B, role)[1]

    def text(self, id: int) -> str:
        """The text of an id.

        Raises:
            CftError: the store has no such text.
        """
        row = int(self._row_of(np.array([id], dtype=np.int64))[0])
        batch = self._text_reader.get_batch(row // TEXTS_PER_BATCH)
        return batch.column("text")[row % TEXTS_PER_BATCH].as_py()

    def all_texts(self) -> Iterator[str]:
        """Every distinct text, in the order of :attr:`ids_U`."""
        for number in range(self._text_reader.num_record_batches):
            yield from self._text_reader.get_batch(number).column("text").to_pylist()

    @property
    def ids_U(self) -> np.ndarray:
        """Ids of the distinct texts, ``int64``, sorted."""
        return self._ids_U

    @cached_property
    def _text_reader(self) -> pa.ipc.RecordBatchFileReader:
        return pa.ipc.open_file(pa.BufferReader(map_file(self.folder / TEXTS)))

    def _row_of(self, ids_B: np.ndarray) -> np.ndarray:
        row_B = np.searchsorted(self._ids_U, ids_B).clip(max=len(self._ids_U) - 1)
        missing = np.flatnonzero(self._ids_U[row_B] != ids_B)
        if len(missing):
            raise CftError(
                f"{self.folder}: no text with id {ids_B[missing[0]]}; build the store again from "
                "the data that names it"
            )
        return row_B

    def _located(self, ids_B: np.ndarray, role: Role) -> tuple[np.ndarray, np.ndarray]:
        start_U, length_U = self._ranges.get(role, self._ranges["document"])
        row_B = self._row_of(ids_B)
        length_B = length_U[row_B]
        if len(length_B) and length_B.min() == 0:
            text = self.text(int(ids_B[int(length_B.argmin())]))
            raise CftError(
                f"{self.folder}: the text {text[:60]!r} is no {role} in any triplet of the store; "
                "ask for it in the role that it plays"
            )
        return start_U[row_B], length_B

    def _ranges_of(self, column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """Where each text begins in the mapped file, in tokens, and its length."""
        starts, lengths = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for chunk in column.chunks:
            offsets = chunk.offsets.to_numpy().astype(np.int64)
            values = chunk.values.buffers()[1]
            base = (values.address - self._map.address) // 4 if len(chunk.values) else 0
            starts.append(base + offsets[:-1])
            lengths.append(np.diff(offsets))
        return np.concatenate(starts), np.concatenate(lengths)


def require_fit(folder: Path, contract: TextContract, tokenizer: Callable[[], Any]) -> None:
    """Assert that a store holds the tokens that ``contract`` gives with ``tokenizer``.

    How they are pooled and attended to is no matter of the tokens; nor are the weights, so a store
    made beside a bare tokenizer serves the whole backbone.

    Args:
        folder: of the store.
        contract: that of the model.
        tokenizer: gives the tokenizer; asked only where the backbone's files differ.

    Raises:
        CftError: naming every field that differs.
    """
    stored = TextContract.load(folder)
    apart: dict[str, str] = {"pooling": contract.pooling, "attention": contract.attention}
    if stored.backbone_digest != contract.backbone_digest:
        known = load_manifest(folder).get("store", {}).get("tokenizer")
        if known is not None and known == tokenizer_digest(tokenizer()):
            apart["backbone_digest"] = contract.backbone_digest
    contract.require_same(stored.model_copy(update=apart), str(folder))
