"""The tokenised store built the plain way, all in memory: what the streamed one must equal."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cft.model.text_contract import TextContract
from cft.text import normalise
from cft.triplets.base import TextIds, Triplets
from cft.triplets.store_files import POSITIVES, TEXTS, TOKENS, TRIPLETS
from cft.triplets.tables import fixed_lists, write_table


def reference_store(
    folder: Path,
    triplets: Triplets,
    contract: TextContract,
    tokenizer: Any,
    per_batch: int = 8192,
) -> Path:
    """The four Arrow files of a store; text by text, row by row."""
    folder.mkdir()
    ids = TextIds(triplets.texts())
    anchor_N, positive_N, negative_NK = ids.columns(triplets)
    text_of = {
        one: normalise(text) for one, text in zip(ids.ids_U.tolist(), ids.texts, strict=True)
    }
    ids_U = np.array(sorted(text_of), dtype=np.int64)
    texts = [text_of[one] for one in ids_U.tolist()]
    if contract.query_prompt == contract.document_prompt:
        roles = {"document": (contract.document_prompt, set(text_of))}
    else:
        documents = {*positive_N.tolist(), *negative_NK.ravel().tolist()}
        roles = {
            "document": (contract.document_prompt, documents),
            "query": (contract.query_prompt, set(anchor_N.tolist())),
        }
    tokens, named = [], []
    for start in range(0, len(texts), per_batch):
        some = slice(start, start + per_batch)
        columns = {"id": pa.array(ids_U[some])}
        for role, (prompt, members) in roles.items():
            columns[role] = _lists(
                [
                    contract.tokenize(tokenizer, [text], prompt)[0]
                    if one in members
                    else np.zeros(0, np.int32)
                    for one, text in zip(ids_U[some].tolist(), texts[some], strict=True)
                ],
                np.int32,
            )
        tokens.append(pa.RecordBatch.from_pydict(columns))
        named.append(
            pa.RecordBatch.from_pydict(
                {"id": pa.array(ids_U[some]), "text": pa.array(texts[some], pa.string())}
            )
        )
    write_table(folder / TOKENS, tokens[0].schema, tokens)
    write_table(folder / TEXTS, named[0].schema, named, compress=True)
    rows = pa.RecordBatch.from_pydict(
        {
            "anchor": pa.array(anchor_N),
            "positive": pa.array(positive_N),
            "negatives": fixed_lists(negative_NK),
            "kind": pa.array(triplets.kind, pa.string()).dictionary_encode(),
        }
    )
    write_table(folder / TRIPLETS, rows.schema, [rows])
    known: dict[int, set[int]] = {}
    for anchor, positive in zip(anchor_N.tolist(), positive_N.tolist(), strict=True):
        known.setdefault(anchor, set()).add(positive)
    anchors = sorted(known)
    positives = pa.RecordBatch.from_pydict(
        {
            "anchor": pa.array(anchors, pa.int64()),
            "positives": _lists([np.array(sorted(known[one])) for one in anchors], np.int64),
        }
    )
    write_table(folder / POSITIVES, positives.schema, [positives])
    return folder


def _lists(parts: list[np.ndarray], dtype: type) -> pa.ListArray:
    """Arrays of unequal length as an Arrow column."""
    offsets = np.zeros(len(parts) + 1, dtype=np.int32)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    flat = np.concatenate(parts) if parts else np.zeros(0)
    return pa.ListArray.from_arrays(offsets, pa.array(flat.astype(dtype, copy=False)))
