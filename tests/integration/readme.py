"""The README as data: its commands and its Python, in order; and the files that it speaks of."""

import json
import re
from pathlib import Path

from cft.corpora.synthetic import epic, verses

ROOT = Path(__file__).resolve().parents[2]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    """Contents of the fenced blocks in ``language``."""
    return [body for name, body in FENCE.findall(path.read_text("utf-8")) if name == language]


def commands(path: Path) -> list[str]:
    """Every command line of the bash blocks."""
    return [
        line
        for block in blocks(path, "bash")
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    ]


def write_data(folder: Path) -> None:
    """Itihasa and VBT in their public formats: the real ones where they lie near, else made."""
    real = ROOT.parent / "shared" / "data"
    if real.is_dir():
        folder.mkdir()
        (folder / "itihasa").symlink_to(real / "itihasa")
        (folder / "vbt.json").symlink_to(real / "vbt" / "vbt.json")
        return
    (folder / "itihasa").mkdir(parents=True)
    for split, rows in epic(7).splits.items():
        for suffix, lines in (
            ("sn", [row.sanskrit for row in rows]),
            ("en", [row.english for row in rows]),
        ):
            (folder / "itihasa" / f"{split}.{suffix}").write_text("\n".join(lines) + "\n", "utf-8")
    corpus = verses(7)
    at = {text: row for row, pair in enumerate(corpus.verses) for text in (pair.sanskrit,)}
    pairs = {
        name: [[{"verse": at[a]}, {"verse": at[b]}] for a, b in given if a in at and b in at]
        for name, given in (
            ("similarity_pairs", corpus.similarity_pairs),
            ("dissimilarity_pairs", corpus.dissimilarity_pairs),
        )
    }
    document = {
        "verses": [{"sanskrit": v.sanskrit, "english": v.english} for v in corpus.verses],
        "retrieval_cases": [
            {"query": query, "relevant_verses": rows} for query, rows in corpus.retrieval_cases
        ],
        **pairs,
    }
    (folder / "vbt.json").write_text(json.dumps(document, ensure_ascii=False), "utf-8")
