"""Quotation marks of CSV and TSV files: one that is taken for a quote swallows what follows."""

import csv
from itertools import chain
from pathlib import Path

from cft.errors import CftError

_BLOCK = 1 << 20
_END = "\0the end"


def require_closed_quotes(path: Path, delimiter: str) -> None:
    """Refuse a file that ends within a quoted field, which readers take for a text like any other.

    Raises:
        CftError: naming the row whose mark is not closed.
    """
    with path.open("rb") as file:
        marks = sum(block.count(b'"') for block in iter(lambda: file.read(_BLOCK), b""))
    if marks % 2 == 0:  # as in every file whose marks are pairs
        return
    limit = csv.field_size_limit(2**31 - 1)  # what was swallowed may be long
    try:
        with path.open(encoding="utf-8-sig", newline="", errors="replace") as lines:
            rows, last = -1, [""]
            for last in csv.reader(chain(lines, [f"{_END}\n"]), delimiter=delimiter):
                rows += bool(last)
    finally:
        csv.field_size_limit(limit)
    if last != [_END]:
        raise CftError(
            f"{path}, row {max(rows, 0)}: a quotation mark is opened and never closed, so the rest "
            "of the file is one text; close it, or double a mark that is part of a text"
        )


def swallowed(path: Path, row: int, column: str) -> CftError:
    """The complaint about a field of a .tsv that runs over a tab."""
    return CftError(
        f"{path}, row {row}, {column}: holds a tab, as where a quotation mark begins a text and "
        "swallows what follows; write the rows as .csv or .jsonl, or double such marks and put the "
        "text into quotes"
    )
