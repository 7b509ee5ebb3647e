"""Local task data in the documented layout, and an encoder without weights that has a name."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.lexical import DICTIONARY, SANSKRIT, TrigramEncoder, english_of

ENGLISH = [english_of(verse) for verse in SANSKRIT]


class NamedTrigrams(TrigramEncoder):
    """The lexical encoder as a benchmark wants it; ``translating`` knows the words of both."""

    def __init__(self, revision="r1", translating=False, query_prompt="", document_prompt=""):
        super().__init__(words=DICTIONARY if translating else None)
        self.name, self.revision, self.dimension = "trigrams", revision, self.width
        self.query_prompt, self.document_prompt = query_prompt, document_prompt


def write_rows(path: Path, rows: list[dict]) -> Path:
    """Rows as the format that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def sts_rows(shift: int = 4) -> list[dict]:
    """Thirty pairs scored by the number of words that they share."""
    others = ENGLISH[shift:] + ENGLISH[:shift]
    return [
        {"genre": "made", "score": len(set(a.split()) & set(b.split())), "sentence1": a,
         "sentence2": b}
        for a, b in zip(ENGLISH, others, strict=True)
    ]  # fmt: skip


def bitext_rows() -> list[dict]:
    """Thirty verses with their English, one column a language."""
    return [
        {"san_Deva": verse, "eng_Latn": english}
        for verse, english in zip(SANSKRIT, ENGLISH, strict=True)
    ]


def write_retrieval(folder: Path, suffix: str = ".tsv", split: str = "test") -> Path:
    """Half of the English verses as queries by their first and last word, all as documents."""
    key = "_id" if suffix == ".jsonl" else "id"
    write_rows(
        folder / f"corpus{suffix}",
        [{key: f"d{row}", "title": "", "text": text} for row, text in enumerate(ENGLISH)],
    )
    write_rows(
        folder / f"queries{suffix}",
        [
            {key: f"q{row}", "text": " ".join((text.split()[0], text.split()[-1]))}
            for row, text in enumerate(ENGLISH)
        ],
    )
    # BEIR keeps qrels as TSV beside JSON lines.
    qrels = folder / "qrels" / f"{split}{'.tsv' if suffix == '.jsonl' else suffix}"
    write_rows(
        qrels,
        [
            {"query-id": f"q{row}", "corpus-id": f"d{row}", "score": 1}
            for row in range(0, len(ENGLISH), 2)
        ],
    )
    return folder
