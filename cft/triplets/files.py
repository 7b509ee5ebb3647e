"""Triplets from a file of a user: CSV, TSV, JSON lines or Parquet, read as a stream of batches.

The batches are parsed and cut into columns by Arrow; Python sees each distinct text of a batch
once, to bring it into its normal form.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cft.corpora.quotes import require_closed_quotes, swallowed
from cft.errors import CftError
from cft.text import ids_of_normalised, normalise
from cft.triplets.base import Triplets
from cft.triplets.file_errors import DELIMITERS, explained, missing_text
from cft.triplets.stream import TripletBatch

ANCHOR = ("anchor", "sent0", "query", "question")
POSITIVE = ("positive", "sent1", "pos", "answer")
NEGATIVE = ("negative", "hard_neg", "neg", "negatives")
SUFFIXES = (*DELIMITERS, ".jsonl", ".parquet")
_KIND = "file"
# Bytes that are parsed at once; no row may be longer. Arrow reads up to 32 blocks ahead.
_BLOCK = 1 << 20
_ROWS = 1 << 14  # rows of a Parquet file that are read at once


@dataclass(frozen=True)
class _Columns:
    """Which columns are read, and whether the one with the negatives holds lists."""

    names: list[str]
    lists: bool

    def schema(self) -> pa.Schema:
        fields = [pa.field(name, pa.string()) for name in self.names]
        if self.lists:
            fields[-1] = pa.field(self.names[-1], pa.list_(pa.string()))
        return pa.schema(fields)


def triplet_batches(path: Path, num_rows: int | None = None) -> Iterator[TripletBatch]:
    """Rows of an anchor, a positive and one or more hard negatives, in the order of the file.

    Columns (or keys of a JSON line) are ``anchor, positive, negative``, ``sent0, sent1,
    hard_neg``, ``query, pos, neg`` or ``question, answer, negative``. Several hard negatives are
    ``negative_1, negative_2`` and so on, or a list under ``negatives`` (or ``neg``). Other columns
    are not read. A .tsv is quoted as a .csv is; no text in it may hold a tab.

    Args:
        path: the file; its suffix says what it is.
        num_rows: read the first rows only; None for all.

    Raises:
        CftError: naming the row and column that lacks a text, the row that cannot be parsed, or
            the column that is missing.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise CftError(f"{path}: unknown kind of file; give a {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise CftError(f"{path}: no such file; name one that exists")
    open_file = {".jsonl": _jsonl, ".parquet": _parquet}.get(path.suffix.lower(), _table)
    done, width = 0, 0
    try:
        columns, batches = open_file(path)
        for batch in batches:
            if num_rows is not None:
                batch = batch.slice(0, num_rows - done)
            if len(batch):
                if path.suffix.lower() == ".tsv":
                    _require_no_tab(batch, path, done)
                triplets = _triplets(batch, columns, path, done, width)
                width = triplets.places_NC.shape[1]
                done += len(batch)
                yield triplets
            if done == num_rows:
                return
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise explained(path, error, (*ANCHOR, *POSITIVE, *NEGATIVE)) from None
    if not done:
        raise CftError(f"{path}: no rows; give a file with triplets")


def read_triplets(path: Path) -> Triplets:
    """All rows of a file in memory, each text in its normal form; see :func:`triplet_batches`."""
    rows: list[list[str]] = []
    for batch in triplet_batches(path):
        texts = np.array(batch.texts.to_pylist(), dtype=object)
        rows += texts[batch.places_NC].tolist()
    return Triplets(
        anchor=[row[0] for row in rows],
        positive=[row[1] for row in rows],
        negatives=[tuple(row[2:]) for row in rows],
        kind=[_KIND] * len(rows),
    )


def _table(path: Path) -> tuple[_Columns, Iterator[pa.RecordBatch]]:
    from pyarrow import csv

    require_closed_quotes(path, DELIMITERS[path.suffix.lower()])
    read = csv.ReadOptions(block_size=_BLOCK)
    parse = csv.ParseOptions(delimiter=DELIMITERS[path.suffix.lower()], newlines_in_values=True)
    with csv.open_csv(path, read, parse) as reader:
        names = reader.schema.names
    columns = _chosen(path, names, set())
    # Of a .tsv every column is read: see _require_no_tab.
    wanted = names if path.suffix.lower() == ".tsv" else columns.names
    # Without types Arrow would take "12" for a number and "NA" for a missing text.
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(wanted, pa.string()),
        include_columns=[] if wanted is names else wanted,
        strings_can_be_null=False,
    )
    return columns, iter(csv.open_csv(path, read, parse, convert))


def _require_no_tab(batch: pa.RecordBatch, path: Path, done: int) -> None:
    """Assert that no quotation mark has swallowed the rows up to the next one.

    Many write a .tsv without any quoting. A field that begins with a mark of the text itself then
    runs on over tabs and ends of lines, and what is left still has as many fields as the header.
    A field that holds a tab tells, in whatever column it stands.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        row = pc.index(pc.match_substring(column, "\t"), True).as_py()
        if row >= 0:
            raise swallowed(path, done + row + 1, name)


def _jsonl(path: Path) -> tuple[_Columns, Iterator[pa.RecordBatch]]:
    import pyarrow.json

    with path.open(encoding="utf-8-sig") as file:
        head = next((line for line in file if line.strip()), "")
    if not head:
        raise CftError(f"{path}: no rows; give a file with triplets")
    try:
        first: Any = json.loads(head)
    except json.JSONDecodeError as error:
        raise pa.ArrowInvalid(str(error)) from None
    if not isinstance(first, dict):
        raise pa.ArrowInvalid("not an object")
    lists = {name for name, value in first.items() if isinstance(value, list)}
    columns = _chosen(path, list(first), lists)
    reader = pyarrow.json.open_json(
        path,
        pyarrow.json.ReadOptions(block_size=_BLOCK),
        pyarrow.json.ParseOptions(
            explicit_schema=columns.schema(), unexpected_field_behavior="ignore"
        ),
    )
    return columns, iter(reader)


def _parquet(path: Path) -> tuple[_Columns, Iterator[pa.RecordBatch]]:
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path, pre_buffer=False)
    schema = file.schema_arrow
    columns = _chosen(path, schema.names, {field.name for field in schema if _is_list(field.type)})
    for name, wanted in zip(columns.names, columns.schema().types, strict=True):
        found = schema.field(name).type
        inner = found.value_type if _is_list(found) else found
        if _is_list(found) != _is_list(wanted) or not _is_text(inner):
            raise CftError(f"{path}, column {name}: holds {found}, not text; write it as strings")
    return columns, file.iter_batches(_ROWS, columns=columns.names)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
    )


def _chosen(path: Path, names: list[str], lists: set[str]) -> _Columns:
    """The columns to read of those that are there."""

    def one_of(known: tuple[str, ...]) -> str:
        for name in known:
            if name in names:
                return name
        raise CftError(
            f"{path}: no column {known[0]} (or {', '.join(known[1:])}) among "
            f"{', '.join(map(repr, names[:8]))}; name the columns so"
        )

    chosen = [one_of(ANCHOR), one_of(POSITIVE)]
    numbered = _numbered(path, names)
    listed = next((name for name in NEGATIVE if name in lists), None)
    chosen += [listed] if listed else numbered or [one_of(NEGATIVE)]
    for name in chosen:
        if names.count(name) > 1:
            raise CftError(f"{path}: two columns {name}; leave one of them out")
    return _Columns(chosen, listed is not None)


def _numbered(path: Path, names: list[str]) -> list[str]:
    """``negative_1``, ``negative_2`` and so on, without a gap."""
    there = {name for name in names if re.fullmatch(r"negative_[1-9]\d*", name)}
    numbered = [f"negative_{number}" for number in range(1, len(there) + 1)]
    for name in numbered:
        if name not in there:
            last = max(there, key=lambda one: int(one.rpartition("_")[2]))
            raise CftError(f"{path}: {last} is there, but no column {name}; number them from 1")
    return numbered


def _triplets(
    batch: pa.RecordBatch, columns: _Columns, path: Path, done: int, width: int
) -> TripletBatch:
    """Texts and places of one batch; ``done`` rows and ``width`` texts a row came before it."""
    names = columns.names
    parts = [batch.column(name) for name in names]
    if columns.lists:
        several = _negatives_each(parts[-1], path, done, width)
        names = [*names[:2], *[names[-1]] * several]
        flat = parts[-1].flatten()
        parts = [*parts[:2], *(flat.take(pa.array(np.arange(n, len(flat), several)))
                               for n in range(several))]  # fmt: skip
    column = pa.chunked_array([_strings(part) for part in parts], pa.string()).combine_chunks()
    encoded = column.dictionary_encode()
    places_CN = pc.fill_null(encoded.indices, -1).to_numpy().reshape(len(parts), -1)
    normal = [normalise(text) for text in encoded.dictionary.to_pylist()]
    full_U = np.fromiter(map(bool, normal), dtype=bool, count=len(normal))
    if not (places_CN >= 0).all() or not full_U.all():
        lacking_NC = ~np.append(full_U, False)[places_CN].T
        row, at = (int(index[0]) for index in np.nonzero(lacking_NC))
        raise missing_text(path, done + row + 1, names[at])
    return TripletBatch(
        ids_of_normalised(normal),
        pa.array(normal, pa.string()),
        np.ascontiguousarray(places_CN.T, dtype=np.int64),
        [_KIND],
        np.zeros(len(batch), dtype=np.int32),
    )


def _strings(part: pa.Array) -> pa.Array:
    return part if part.type == pa.string() else part.cast(pa.string())


def _negatives_each(lists: pa.Array, path: Path, done: int, width: int) -> int:
    """How many hard negatives every row has."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    several = width - 2 if width else int(lengths[0])
    other = np.flatnonzero(lengths != several)
    if len(other):
        raise CftError(
            f"{path}, row {done + int(other[0]) + 1}: {lengths[other[0]]} hard negatives, the "
            f"first row has {several}; give every row the same number"
        )
    if not several:
        raise CftError(f"{path}, row {done + 1}: no hard negatives; give every row at least one")
    return several
