"""Mined triplets as a file that training reads: JSON lines, Parquet or CSV."""

import csv
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cft.errors import CftError
from cft.files import fsync_folder

SUFFIXES = (".jsonl", ".parquet", ".csv", ".tsv")
_ROWS_AT_ONCE = 8192

Row = dict[str, Any]


def require_writable_kind(path: Path) -> None:
    """Refuse a name before any work is done for it.

    Raises:
        CftError: the suffix is of no kind of file that can be written, or a folder is in the way.
    """
    if path.suffix not in SUFFIXES:
        raise CftError(f"--output: {path}: unknown kind of file; name a {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise CftError(f"--output: {path}: is a folder; name a file")


def write_rows(rows: Iterable[Row], beside: Path, path: Path) -> None:
    """Write ``path`` whole or not at all, row by row.

    Args:
        rows: each has ``anchor``, ``positive``, ``negatives``, ``kind``, ``positive_score`` and
            ``negative_scores``; lists of one length in all rows.
        beside: where to write before the file appears, on the same file system.
        path: its suffix decides the format. CSV and TSV have columns ``negative_1`` and so on,
            and no scores.
    """
    writers = {".jsonl": _json_lines, ".parquet": _parquet}
    writers.get(path.suffix, _table)(rows, beside, path.suffix)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)
    fsync_folder(path.parent)


def _json_lines(rows: Iterable[Row], path: Path, suffix: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _parquet(rows: Iterable[Row], path: Path, suffix: str) -> None:
    schema = pa.schema(
        [
            ("anchor", pa.string()),
            ("positive", pa.string()),
            ("negatives", pa.list_(pa.string())),
            ("kind", pa.string()),
            ("positive_score", pa.float64()),
            ("negative_scores", pa.list_(pa.float64())),
        ]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for chunk in _chunks(rows):
            writer.write_batch(pa.RecordBatch.from_pylist(chunk, schema=schema))


def _table(rows: Iterable[Row], path: Path, suffix: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
        for number, row in enumerate(rows):
            if not number:
                names = [f"negative_{one + 1}" for one in range(len(row["negatives"]))]
                writer.writerow(["anchor", "positive", *names, "kind"])
            writer.writerow([row["anchor"], row["positive"], *row["negatives"], row["kind"]])


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _ROWS_AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
