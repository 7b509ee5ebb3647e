"""Stage-1 triplets of natural-language inference: what contradicts a premise is its negative."""

from pathlib import Path
from typing import Any

from cft.corpora.nli import load_nli
from cft.triplets.base import Triplets

NLI = "nli"


def nli_triplets(path: Path, num_rows: int | None) -> tuple[Triplets, dict[str, Any]]:
    """The usable rows of a file of NLI triplets, in order, and their part of the manifest.

    Raises:
        CftError: the file is missing or malformed, or holds no usable row.
    """
    corpus = load_nli(path, num_rows)
    triplets = Triplets(
        anchor=[row[0] for row in corpus.rows],
        positive=[row[1] for row in corpus.rows],
        negatives=[(row[2],) for row in corpus.rows],
        kind=[NLI] * len(corpus.rows),
    )
    return triplets, {
        "name": NLI,
        "source": corpus.source,
        "dropped": corpus.dropped,
        "rows": len(triplets),
    }
