"""Rows to mine for from a file: triplets, or pairs that have no negative yet."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cft.corpora.quotes import require_closed_quotes, swallowed
from cft.errors import CftError
from cft.mining.question import Pairs
from cft.text import normalise
from cft.triplets.files import ANCHOR, NEGATIVE, POSITIVE, read_triplets

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_pairs(path: Path) -> Pairs:
    """Read a file of triplets, or one without any column of negatives.

    Columns are named as :func:`cft.triplets.files.read_triplets` wants them.

    Raises:
        CftError: naming the row that lacks a text, or the column that is missing.
    """
    rows = _rows(path)
    try:
        first = next(rows, None)
        if first is None:
            raise CftError(f"{path}: no rows; give pairs or triplets")
        if any(name in first for name in (*NEGATIVE, "negative_1")):
            return Pairs.of(read_triplets(path))
        anchor, positive = _name(path, first, ANCHOR), _name(path, first, POSITIVE)
        pairs = Pairs([], [], [], [])
        for number, row in enumerate(_chained(first, rows), 1):
            for name, column in ((anchor, pairs.anchor), (positive, pairs.positive)):
                text = row.get(name)
                if not isinstance(text, str) or not normalise(text):
                    raise CftError(
                        f"{path}, row {number}, {name}: no text; fill it or leave the row out"
                    )
                column.append(text)
            pairs.negatives.append(())
            pairs.kind.append("file")
        return pairs
    except (UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise CftError(f"{path}: cannot be read ({error}); save it again") from None


def _chained(first: dict[str, Any], rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from rows


def _name(path: Path, row: dict[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if name in row:
            return name
    raise CftError(f"{path}: no column {names[0]} (or {', '.join(names[1:])}); name the columns so")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    elif path.suffix == ".jsonl":
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise CftError(f"{path}, row {number}: not JSON ({error}); mend it") from None
                if not isinstance(row, dict):
                    raise CftError(f"{path}, row {number}: not a JSON object; mend it")
                yield row
    elif path.suffix in _DELIMITERS:
        require_closed_quotes(path, _DELIMITERS[path.suffix])
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(
                csv.DictReader(file, delimiter=_DELIMITERS[path.suffix]), 1
            ):
                for name, text in row.items():
                    if path.suffix == ".tsv" and isinstance(text, str) and "\t" in text:
                        raise swallowed(path, number, name)
                yield row
    else:
        raise CftError(f"{path}: unknown kind of file; give a .csv, .tsv, .jsonl or .parquet")
