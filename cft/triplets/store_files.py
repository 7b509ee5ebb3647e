"""Write the files of a tokenised store, from a stream of triplets and in bounded memory.

Two passes: the first sorts texts and positives by id (on disk, where they do not fit the budget),
the second tokenises each distinct text once and writes it.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from cft.errors import CftError
from cft.files import whole_folder
from cft.model.text_contract import TextContract, tokenizer_digest
from cft.triplets.base import Triplets
from cft.triplets.gathered import DOCUMENT, QUERY, TEXT_ROWS, Gathered
from cft.triplets.manifest import length_summary, save_manifest
from cft.triplets.partitions import first_of_runs
from cft.triplets.stream import TripletBatch, batches_of
from cft.triplets.tables import fixed_lists, write_table

log = logging.getLogger(__name__)

TOKENS, TEXTS = "tokens.arrow", "texts.arrow"
TRIPLETS, POSITIVES = "triplets.arrow", "positives.arrow"
TEXTS_PER_BATCH = 8192  # texts tokenised and held in memory as tokens at once
BUDGET = 32 << 20  # bytes of texts held before they go to disk

T = TypeVar("T")
S = TypeVar("S")


def build_store(
    folder: Path,
    triplets: Triplets | Iterable[TripletBatch],
    contract: TextContract,
    tokenizer: Any,
    manifest: dict[str, Any],
    *,
    budget: int | None = None,
) -> Path:
    """Tokenise the triplets into ``folder``, whole or not at all; each distinct text once.

    Memory does not grow with the rows: beyond ``budget`` texts wait in files inside the folder
    that is being written.

    Args:
        folder: what to write; where it exists already, it stands.
        triplets: rows of texts, in memory or as a stream that is read once.
        contract: how a text becomes tokens.
        tokenizer: the backbone's tokenizer.
        manifest: of the data; the store's own figures are added under ``store``.
        budget: bytes of texts held in memory; :data:`BUDGET` where not given.

    Raises:
        CftError: there are no triplets, two different texts share an id, or what the stream
            raises.
    """
    if folder.exists():
        return folder
    started = time.perf_counter()
    with whole_folder(folder) as beside:
        scratch = beside / "scratch"
        scratch.mkdir()
        gathered = Gathered(scratch, BUDGET if budget is None else budget)
        batches = batches_of(triplets) if isinstance(triplets, Triplets) else triplets
        with tqdm(desc="gather", unit="triplet") as progress:
            for batch in batches:
                gathered.add(batch)
                progress.update(len(batch))
        if not gathered.rows:
            raise CftError(f"{folder}: no triplets to store; give more data")
        texts, counts = _write_texts(beside, gathered, contract, tokenizer)
        _write_triplets(beside / TRIPLETS, gathered)
        _write_positives(beside / POSITIVES, gathered)
        shutil.rmtree(scratch)
        contract.save(beside)
        lengths = {role: length_summary(count_L) for role, count_L in counts.items()}
        store = {
            "rows": gathered.rows,
            "kinds": dict(sorted(gathered.kinds.items())),
            "texts": texts,
            "hard_negatives": gathered.width - 2,
            "tokenizer": tokenizer_digest(tokenizer),
            "token_lengths": lengths,
        }
        save_manifest(beside, {**manifest, "store": store})
    seconds = time.perf_counter() - started
    log.info(
        "%s: %d texts of %d triplets tokenised (%d tokens) in %.1f s, %.0f texts/s",
        folder.name, texts, gathered.rows, sum(one["tokens"] for one in lengths.values()), seconds,
        texts / seconds,
    )  # fmt: skip
    return folder


def _write_texts(
    folder: Path, gathered: Gathered, contract: TextContract, tokenizer: Any
) -> tuple[int, dict[str, np.ndarray]]:
    """Tokens and texts by id.

    Returns:
        The number of texts, and for each role how many texts have each length, ``int64 [L + 1]``.
    """
    roles = {"document": (contract.document_prompt, DOCUMENT | QUERY)}
    if contract.query_prompt != contract.document_prompt:
        roles = {
            "document": (contract.document_prompt, DOCUMENT),
            "query": (contract.query_prompt, QUERY),
        }
    counts = {role: np.zeros(contract.max_length + 1, dtype=np.int64) for role in roles}

    def tokens_of(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        texts = batch.column(1).to_pylist()
        roles_U = batch.column(2).to_numpy()
        columns: dict[str, pa.Array] = {"id": batch.column(0)}
        for role, (prompt, bits) in roles.items():
            holds = np.flatnonzero(roles_U & bits)
            wanted = texts if len(holds) == len(texts) else [texts[row] for row in holds.tolist()]
            flat_T, length_N = contract.tokenize_flat(tokenizer, wanted, prompt)
            length_U = np.zeros(len(texts), dtype=np.int32)
            length_U[holds] = length_N
            offsets = np.concatenate([[0], np.cumsum(length_U)]).astype(np.int32)
            columns[role] = pa.ListArray.from_arrays(offsets, pa.array(flat_T))
            counts[role] += np.bincount(length_N, minlength=len(counts[role]))
        # A slice of a larger array would leave its traces in the compressed bytes.
        named = {"id": batch.column(0), "text": pa.array(texts, pa.string())}
        return pa.RecordBatch.from_pydict(columns), pa.RecordBatch.from_pydict(named)

    number, fields = 0, [pa.field(role, pa.list_(pa.int32())) for role in roles]
    schema = pa.schema([pa.field("id", pa.int64()), *fields])
    text_schema = pa.schema([TEXT_ROWS.field("id"), TEXT_ROWS.field("text")])
    with (
        pa.OSFile(str(folder / TOKENS), "wb") as token_file,
        pa.ipc.new_file(token_file, schema) as token_writer,
        pa.OSFile(str(folder / TEXTS), "wb") as text_file,
        pa.ipc.new_file(
            text_file, text_schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
        ) as text_writer,
        tqdm(desc="tokenise", unit="text") as progress,
    ):
        batches = _of_size(gathered.texts(), TEXTS_PER_BATCH)
        for tokens, texts in _one_ahead(batches, tokens_of):
            token_writer.write_batch(tokens)
            text_writer.write_batch(texts)
            number += len(texts)
            progress.update(len(texts))
    return number, counts


def _of_size(parts: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly ``size``; the last may be smaller."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for part in parts:
        at = 0
        while at < len(part):
            piece = part.slice(at, size - rows)
            held.append(piece)
            rows += len(piece)
            at += len(piece)
            if rows == size:
                yield _joined(held)
                held, rows = [], 0
    if held:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _one_ahead(items: Iterable[S], work: Callable[[S], T]) -> Iterator[T]:
    """``work`` of every item, in order; the next is begun before the present one is used."""
    with ThreadPoolExecutor(1) as pool:
        begun: Future[T] | None = None
        for item in items:
            following = pool.submit(work, item)
            if begun is not None:
                yield begun.result()
            begun = following
        if begun is not None:
            yield begun.result()


def _write_triplets(path: Path, gathered: Gathered) -> None:
    kinds = pa.array(list(gathered.kinds), pa.string())

    def batches() -> Iterator[pa.RecordBatch]:
        for ids_NC, kind_N in gathered.triplets():
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(ids_NC[:, 0].copy()),
                    pa.array(ids_NC[:, 1].copy()),
                    fixed_lists(ids_NC[:, 2:]),
                    pa.DictionaryArray.from_arrays(pa.array(kind_N), kinds),
                ],
                schema=schema,
            )

    schema = pa.schema(
        [
            ("anchor", pa.int64()),
            ("positive", pa.int64()),
            ("negatives", pa.list_(pa.int64(), gathered.width - 2)),
            ("kind", pa.dictionary(pa.int32(), pa.string())),
        ]
    )
    write_table(path, schema, batches())


def _write_positives(path: Path, gathered: Gathered) -> None:
    """Each anchor's distinct positives, both sorted by id."""

    def batches() -> Iterator[pa.RecordBatch]:
        for anchor_P, positive_P in gathered.positives():
            start_A = np.flatnonzero(first_of_runs(anchor_P))
            offsets = np.append(start_A, len(anchor_P)).astype(np.int32)
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(anchor_P[start_A]),
                    pa.ListArray.from_arrays(offsets, pa.array(positive_P)),
                ],
                schema=schema,
            )

    schema = pa.schema([("anchor", pa.int64()), ("positives", pa.list_(pa.int64()))])
    write_table(path, schema, batches())
