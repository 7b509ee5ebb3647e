"""One table of rows from a TSV, Parquet or JSON-lines file, with errors that name the row."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from cft.errors import CftError

_BLOCK = 1 << 24  # bytes read at once; a row must fit, and some documents are megabytes
SUFFIXES = (".tsv", ".parquet", ".jsonl")


def table_file(stem: Path) -> Path | None:
    """The file ``<stem>.tsv``, ``.parquet`` or ``.jsonl``; None where there is none.

    Raises:
        CftError: there are two, and they may say different things.
    """
    found = [path for suffix in SUFFIXES if (path := stem.with_name(stem.name + suffix)).is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise CftError(f"{stem.parent}: {names} hold the same data; keep one of them")
    return found[0] if found else None


def read_table(
    path: Path, columns: Mapping[str, Sequence[str]], optional: Sequence[str] = ()
) -> pa.Table:
    """The named columns of a file as strings, other columns left out.

    A TSV has a header and no quoting: a field is what stands between two tabs, so a text that
    itself holds a tab or a line break needs Parquet or JSON lines. All files are UTF-8.

    Args:
        path: the file.
        columns: name of a column here -> the names that it may have in the file.
        optional: those that may be absent; their nulls become empty texts.

    Raises:
        CftError: the file cannot be read, lacks a column, has no rows or a row without a value.
    """
    try:
        table = _READERS[path.suffix](path)
    except (pa.ArrowException, OSError) as error:
        what = " ".join(str(error).split())[:200]
        raise CftError(
            f"{path}: cannot be read as {path.suffix[1:]} ({what}); mend the file"
        ) from None
    chosen = {}
    for name, spellings in columns.items():
        spelled = next((one for one in spellings if one in table.column_names), None)
        if spelled is None:
            if name not in optional:
                raise CftError(
                    f"{path}: no column {' or '.join(dict.fromkeys(spellings))} among "
                    f"{', '.join(table.column_names)}; name the columns in the header"
                )
            continue
        column = table.column(spelled)
        if not pa.types.is_string(column.type):
            try:
                column = column.cast(pa.string())
            except pa.ArrowException:
                raise CftError(
                    f"{path}, column {spelled}: holds {column.type}; give texts or numbers"
                ) from None
        if name in optional:
            column = pc.fill_null(column, "")
        elif column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise CftError(f"{path}, row {row + 1}, {spelled}: no value; fill or drop the row")
        chosen[name] = column
    if not table.num_rows:
        raise CftError(f"{path}: no rows; give a file with data")
    return pa.table(chosen)


def require_texts(path: Path, table: pa.Table, columns: Sequence[str]) -> None:
    """Refuse rows whose text is blank: they would be scored on nothing.

    Raises:
        CftError: naming the first such row.
    """
    for name in columns:
        blank = pc.equal(pc.utf8_trim_whitespace(table.column(name)), "")
        if pc.any(blank).as_py():
            row = blank.to_pylist().index(True)
            raise CftError(f"{path}, row {row + 1}, {name}: a blank text; fill or drop the row")


def numbers(path: Path, table: pa.Table, name: str) -> list[float]:
    """A column as finite numbers.

    Raises:
        CftError: naming the first row that holds none.
    """
    values = []
    for row, text in enumerate(table.column(name).to_pylist()):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise CftError(
                f"{path}, row {row + 1}, {name}: {text!r} is no finite number; mend the row"
            )
        values.append(value)
    return values


def _tsv(path: Path) -> pa.Table:
    with path.open("rb") as file:
        header = file.readline().decode("utf-8-sig", errors="replace").rstrip("\r\n").split("\t")
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK),
        parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        ),
    )


def _json_lines(path: Path) -> pa.Table:
    return pyarrow.json.read_json(path, pyarrow.json.ReadOptions(block_size=_BLOCK))


_READERS = {
    ".tsv": _tsv,
    ".parquet": pq.read_table,
    ".jsonl": _json_lines,
}
