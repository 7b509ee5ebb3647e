"""Write the files of a tokenised store."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from cft.errors import CftError
from cft.files import whole_folder
from cft.model.text_contract import TextContract
from cft.text import normalise
from cft.triplets.base import TextIds, Triplets
from cft.triplets.manifest import save_manifest, token_lengths
from cft.triplets.tables import fixed_lists, lists, write_table

log = logging.getLogger(__name__)

TOKENS, TEXTS = "tokens.arrow", "texts.arrow"
TRIPLETS, POSITIVES = "triplets.arrow", "positives.arrow"
TEXTS_PER_BATCH = 8192  # texts tokenised and held in memory as tokens at once


def build_store(
    folder: Path,
    triplets: Triplets,
    contract: TextContract,
    tokenizer: Any,
    manifest: dict[str, Any],
) -> Path:
    """Tokenise the triplets into ``folder``, whole or not at all; each distinct text once.

    Args:
        folder: what to write; where it exists already, it stands.
        triplets: rows of texts.
        contract: how a text becomes tokens.
        tokenizer: the backbone's tokenizer.
        manifest: of the data; the store's own figures are added under ``store``.

    Raises:
        CftError: there are no triplets, or two different texts share an id.
    """
    started = time.perf_counter()
    if not len(triplets):
        raise CftError(f"{folder}: no triplets to store; give more data")
    ids = TextIds(triplets.texts())
    anchor_N, positive_N, negative_NK = ids.columns(triplets)
    ids_U, first_U = np.unique(ids.ids_U, return_index=True)
    texts = [normalise(ids.texts[row]) for row in first_U.tolist()]
    roles = _roles(ids_U, anchor_N, positive_N, negative_NK, contract)
    with whole_folder(folder) as beside:
        lengths = {role: np.zeros(len(texts), dtype=np.int64) for role in roles}
        batches = _token_batches(ids_U, texts, roles, lengths, contract, tokenizer)
        fields = [pa.field(role, pa.list_(pa.int32())) for role in roles]
        write_table(beside / TOKENS, pa.schema([pa.field("id", pa.int64()), *fields]), batches)
        _write_texts(beside / TEXTS, ids_U, texts)
        _write_triplets(beside / TRIPLETS, anchor_N, positive_N, negative_NK, triplets.kind)
        _write_positives(beside / POSITIVES, anchor_N, positive_N)
        contract.save(beside)
        seen = {role: length_U[length_U > 0] for role, length_U in lengths.items()}
        store = {
            "rows": len(triplets),
            "kinds": triplets.kinds(),
            "texts": len(texts),
            "hard_negatives": triplets.num_negatives,
            "token_lengths": {r: token_lengths(n, contract.max_length) for r, n in seen.items()},
        }
        save_manifest(beside, {**manifest, "store": store})
    seconds = time.perf_counter() - started
    log.info(
        "%s: %d texts of %d triplets tokenised (%d tokens) in %.1f s, %.0f texts/s",
        folder.name, len(texts), len(triplets), sum(int(n.sum()) for n in seen.values()), seconds,
        len(texts) / seconds,
    )  # fmt: skip
    return folder


def _roles(
    ids_U: np.ndarray,
    anchor_N: np.ndarray,
    positive_N: np.ndarray,
    negative_NK: np.ndarray,
    contract: TextContract,
) -> dict[str, tuple[str, np.ndarray]]:
    """Prompt of each token column, and which texts it holds (``bool [U]``)."""
    if contract.query_prompt == contract.document_prompt:
        return {"document": (contract.document_prompt, np.ones(len(ids_U), dtype=bool))}
    documents = np.isin(ids_U, positive_N) | np.isin(ids_U, negative_NK)
    return {
        "document": (contract.document_prompt, documents),
        "query": (contract.query_prompt, np.isin(ids_U, anchor_N)),
    }


def _token_batches(
    ids_U: np.ndarray,
    texts: list[str],
    roles: dict[str, tuple[str, np.ndarray]],
    lengths: dict[str, np.ndarray],
    contract: TextContract,
    tokenizer: Any,
) -> Iterator[pa.RecordBatch]:
    """Tokens of the texts, batch by batch; ``lengths`` is filled in place."""
    nothing = np.zeros(0, dtype=np.int32)
    with tqdm(total=len(texts), desc="tokenise", unit="text") as progress:
        for start in range(0, len(texts), TEXTS_PER_BATCH):
            stop = min(start + TEXTS_PER_BATCH, len(texts))
            columns: dict[str, pa.Array] = {"id": pa.array(ids_U[start:stop])}
            for role, (prompt, holds_U) in roles.items():
                wanted = (start + np.flatnonzero(holds_U[start:stop])).tolist()
                tokens = contract.tokenize(tokenizer, [texts[row] for row in wanted], prompt)
                parts = [nothing] * (stop - start)
                for row, one in zip(wanted, tokens, strict=True):
                    parts[row - start] = one
                lengths[role][start:stop] = [len(part) for part in parts]
                columns[role] = lists(parts, np.int32)
            yield pa.RecordBatch.from_pydict(columns)
            progress.update(stop - start)


def _write_texts(path: Path, ids_U: np.ndarray, texts: list[str]) -> None:
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    batches = (
        pa.RecordBatch.from_arrays(
            [
                pa.array(ids_U[start : start + TEXTS_PER_BATCH]),
                pa.array(texts[start : start + TEXTS_PER_BATCH], pa.string()),
            ],
            schema=schema,
        )
        for start in range(0, len(texts), TEXTS_PER_BATCH)
    )
    write_table(path, schema, batches, compress=True)


def _write_triplets(
    path: Path,
    anchor_N: np.ndarray,
    positive_N: np.ndarray,
    negative_NK: np.ndarray,
    kind: list[str],
) -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "anchor": pa.array(anchor_N),
            "positive": pa.array(positive_N),
            "negatives": fixed_lists(negative_NK),
            "kind": pa.array(kind, pa.string()).dictionary_encode(),
        }
    )
    write_table(path, batch.schema, [batch])


def _write_positives(path: Path, anchor_N: np.ndarray, positive_N: np.ndarray) -> None:
    """Each anchor's distinct positives, both sorted by id."""
    order = np.lexsort((positive_N, anchor_N))
    anchor, positive = anchor_N[order], positive_N[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (anchor[1:] != anchor[:-1]) | (positive[1:] != positive[:-1])
    anchor, positive = anchor[new], positive[new]
    anchor_A, start_A = np.unique(anchor, return_index=True)
    offsets = np.append(start_A, len(anchor)).astype(np.int32)
    batch = pa.RecordBatch.from_pydict(
        {
            "anchor": pa.array(anchor_A),
            "positives": pa.ListArray.from_arrays(offsets, pa.array(positive)),
        }
    )
    write_table(path, batch.schema, [batch])
