"""Read natural-language-inference triplets: a premise, what it entails, what contradicts it.

``nli_for_simcse.csv`` holds some 275,000, made of SNLI and MultiNLI (Gao et al., 2021, "SimCSE:
Simple Contrastive Learning of Sentence Embeddings"): columns ``sent0``, ``sent1``, ``hard_neg``.
"""

import csv
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from cft.corpora.quotes import require_closed_quotes, swallowed
from cft.errors import CftError
from cft.files import digest_file
from cft.hub import endpoint
from cft.text import normalise

log = logging.getLogger(__name__)

FILE_NAME = "nli_for_simcse.csv"
COLUMNS = ("sent0", "sent1", "hard_neg")
EMPTY, DEGENERATE, DUPLICATE = "empty", "degenerate", "duplicate"
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def published_address() -> str:
    """Where the file is published, on the hub that ``HF_ENDPOINT`` names."""
    return f"{endpoint()}/datasets/princeton-nlp/datasets-for-simcse/resolve/main/{FILE_NAME}"


@dataclass(frozen=True)
class NliCorpus:
    """Triplets of sentences in their normal form.

    Attributes:
        rows: premise, entailed sentence, contradicting sentence.
        source: the file's name and its digest.
        dropped: rows dropped by each filter.
    """

    rows: list[tuple[str, str, str]]
    source: dict[str, str]
    dropped: dict[str, int]


def load_nli(path: Path, num_rows: int | None = None) -> NliCorpus:
    """Read and filter a CSV or TSV file of triplets.

    Dropped and counted: rows with an empty side, rows in which two sides are the same text, and
    rows that repeat a whole triplet.

    Args:
        path: the file, with a header.
        num_rows: read only the first rows; None for all.

    Raises:
        CftError: the file is missing or malformed, a column is missing, or no row is left.
    """
    started = time.perf_counter()
    dropped = dict.fromkeys((EMPTY, DEGENERATE, DUPLICATE), 0)
    kept: dict[tuple[str, str, str], None] = {}
    for row in tqdm(_rows(Path(path), num_rows), desc=Path(path).name, unit="row", total=num_rows):
        texts = (normalise(row[0]), normalise(row[1]), normalise(row[2]))
        reason = (
            EMPTY if not all(texts)
            else DEGENERATE if len(set(texts)) < 3
            else DUPLICATE if texts in kept
            else None
        )  # fmt: skip
        if reason:
            dropped[reason] += 1
        else:
            kept[texts] = None
    counts = ", ".join(f"{count} {name}" for name, count in dropped.items())
    if not kept:
        raise CftError(f"{path}: no usable row ({counts}); give premises with both sentences")
    seconds = time.perf_counter() - started
    log.info(
        "%s: %d triplets (%s dropped) in %.1f s, %.0f triplets/s",
        Path(path).name, len(kept), counts, seconds, len(kept) / seconds,
    )  # fmt: skip
    return NliCorpus(list(kept), {Path(path).name: digest_file(Path(path))}, dropped)


def _rows(path: Path, limit: int | None) -> Iterator[list[str]]:
    if path.suffix not in _DELIMITERS:
        raise CftError(f"{path}: unknown kind of file; give a .csv or .tsv with a header")
    try:
        require_closed_quotes(path, _DELIMITERS[path.suffix])
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_DELIMITERS[path.suffix])
            header = next(reader, [])
            absent = [name for name in COLUMNS if name not in header]
            if absent:
                raise CftError(
                    f"{path}: no column {absent[0]}; the header must name {', '.join(COLUMNS)}"
                )
            places = [header.index(name) for name in COLUMNS]
            for number, row in enumerate(islice(reader, limit), 1):
                if not row:
                    continue
                if len(row) <= max(places):
                    raise CftError(
                        f"{path}:{reader.line_num}: {len(row)} columns, the header has "
                        f"{len(header)}; mend the row"
                    )
                if path.suffix == ".tsv":
                    for name, text in zip(header, row, strict=False):
                        if "\t" in text:
                            raise swallowed(path, number, name)
                yield [row[place] for place in places]
    except FileNotFoundError:
        raise CftError(f"{path}: no such file; name one that exists") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CftError(f"{path}: cannot be read ({error}); save it as UTF-8") from None
