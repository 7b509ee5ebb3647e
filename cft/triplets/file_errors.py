"""Say which row of a user's file is at fault.

Arrow reads fast and says little of where it stopped; a file that it refuses is read once more,
row by row, to name the place.
"""

import csv
import json
from collections.abc import Collection
from pathlib import Path

from cft.errors import CftError

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def missing_text(path: Path, row: int, column: str) -> CftError:
    """The complaint about a field without text; ``row`` counts rows of data from 1."""
    return CftError(f"{path}, row {row}, {column}: no text; fill it or leave the row out")


def explained(path: Path, error: Exception, columns: Collection[str]) -> CftError:
    """What is wrong with a file that could not be parsed: the row where there is one to name.

    Args:
        path: the file.
        error: what its reader said.
        columns: names of columns that hold texts or lists of texts.
    """
    suffix = path.suffix.lower()
    found = _undecodable(path) if suffix != ".parquet" else None
    if found is None and suffix in DELIMITERS:
        found = _bad_record(path, DELIMITERS[suffix])
    if found is None and suffix == ".jsonl":
        found = _bad_line(path, columns)
    said = " ".join(str(error).split())[:200]
    return CftError(found or f"{path}: cannot be read ({said}); save it anew, as UTF-8")


def _undecodable(path: Path) -> str | None:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return (
                    f"{path}, line {number}: not valid UTF-8 (byte 0x{byte:02x}); save it as UTF-8"
                )
    return None


def _bad_record(path: Path, delimiter: str) -> str | None:
    row = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        records = csv.reader(file, delimiter=delimiter)
        try:
            header = next(records, None)
            if header is None:
                return f"{path}: no rows; give a file with triplets"
            for record in records:
                if not record:
                    continue
                row += 1
                if len(record) != len(header):
                    return (
                        f"{path}, row {row}: {len(record)} fields, the header has {len(header)}; "
                        "mend it, or put a text with a delimiter into quotes"
                    )
        except csv.Error as error:
            return f"{path}, row {row + 1}: {error}; look for a quote that is not closed"
    return None


def _bad_line(path: Path, columns: Collection[str]) -> str | None:
    row = 0
    first: dict[str, object] = {}
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if not line.strip():
                continue
            row += 1
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                return f"{path}, row {row}: not JSON ({error}); mend it"
            if not isinstance(value, dict):
                return f"{path}, row {row}: not a JSON object; mend it"
            for name in columns:
                given = value.get(name)
                if given is not None and isinstance(given, list) != isinstance(
                    first.setdefault(name, given), list
                ):
                    return f"{path}, row {row}, {name}: not a list in every row; choose one way"
                texts = given if isinstance(given, list) else [given]
                if any(text is not None and not isinstance(text, str) for text in texts):
                    return f"{path}, row {row}, {name}: not text; give strings"
    return None
