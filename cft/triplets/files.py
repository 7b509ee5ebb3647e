"""Triplets from a file of a user: CSV, TSV or JSON lines."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cft.errors import CftError
from cft.text import normalise
from cft.triplets.base import Triplets

_ANCHOR = ("anchor", "sent0", "query")
_POSITIVE = ("positive", "sent1", "pos")
_NEGATIVE = ("negative", "hard_neg", "neg")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_KIND = "file"


def read_triplets(path: Path) -> Triplets:
    """Read rows of an anchor, a positive and one or more hard negatives.

    Columns (or keys of a JSON line) are ``anchor, positive, negative`` or ``sent0, sent1,
    hard_neg``. Several hard negatives are ``negative_1, negative_2`` and so on, or a list under
    ``negatives``.

    Raises:
        CftError: naming the row that lacks a text, or the column that is missing.
    """
    rows = _lines(path) if path.suffix == ".jsonl" else _table(path)
    anchor, positive, kind = [], [], []
    negatives: list[tuple[str, ...]] = []
    for number, row in rows:
        where = f"{path}, row {number}"
        anchor.append(_text(row, _ANCHOR, where))
        positive.append(_text(row, _POSITIVE, where))
        negatives.append(_negatives(row, where))
        kind.append(_KIND)
        if len(negatives[-1]) != len(negatives[0]):
            raise CftError(
                f"{where}: {len(negatives[-1])} hard negatives, the first row has "
                f"{len(negatives[0])}; give every row the same number"
            )
    if not anchor:
        raise CftError(f"{path}: no rows; give a file with triplets")
    return Triplets(anchor, positive, negatives, kind)


def _table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix not in _DELIMITERS:
        raise CftError(f"{path}: unknown kind of file; give a .csv, .tsv or .jsonl")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from enumerate(csv.DictReader(file, delimiter=_DELIMITERS[path.suffix]), 1)
    except (UnicodeDecodeError, csv.Error) as error:
        raise CftError(f"{path}: cannot be read ({error}); save it as UTF-8") from None


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise CftError(f"{path}, row {number}: not JSON ({error}); mend it") from None
            if not isinstance(row, dict):
                raise CftError(f"{path}, row {number}: not a JSON object; mend it")
            yield number, row


def _text(row: dict[str, Any], names: tuple[str, ...], where: str) -> str:
    for name in names:
        if name in row:
            return _given(row[name], f"{where}, {name}")
    raise CftError(f"{where}: no {names[0]} (or {names[1]}); name the columns so")


def _negatives(row: dict[str, Any], where: str) -> tuple[str, ...]:
    if isinstance(several := row.get("negatives"), list) and several:
        return tuple(_given(text, f"{where}, negatives") for text in several)
    numbered: list[str] = []
    while (name := f"negative_{len(numbered) + 1}") in row:
        numbered.append(_given(row[name], f"{where}, {name}"))
    return tuple(numbered) or (_text(row, _NEGATIVE, where),)


def _given(value: Any, where: str) -> str:
    if not isinstance(value, str) or not normalise(value):
        raise CftError(f"{where}: no text; fill it or leave the row out")
    return value
