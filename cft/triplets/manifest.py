"""The manifest of a dataset: what it is made of, what was left out and how much remained."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cft.corpora.base import ParallelCorpus, VerseCorpus
from cft.corpora.evalset import EvalSet
from cft.errors import CftError
from cft.files import write_json
from cft.recipe import DataRecipe
from cft.triplets.base import Triplets
from cft.triplets.itihasa import chapters_known
from cft.triplets.leaks import GuardedSet, Leaks
from cft.triplets.splits import EpicSplit, VerseSplit

MANIFEST_FILE = "manifest.json"
FORMAT = 1
# Settings that are places: what lies there counts, by its digest, and not where.
SOURCE_FIELDS = ("itihasa", "vbt", "nli", "eval_sets")


def dataset_manifest(
    recipe: DataRecipe,
    epic: ParallelCorpus,
    verses: VerseCorpus,
    epic_split: EpicSplit,
    verse_split: VerseSplit,
    stages: Mapping[str, Triplets],
    evalset: EvalSet,
) -> dict[str, Any]:
    """Everything that decides or describes the prepared data, JSON-able.

    The paths of the sources are not part of it, their digests are: the same data in another
    folder has the same manifest.
    """
    known = chapters_known(epic_split.train)
    return {
        "format": FORMAT,
        "settings": recipe.model_dump(mode="json", exclude=set(SOURCE_FIELDS)),
        "epic": {
            "name": epic.name,
            "source": epic.source,
            "rows": {name: len(rows) for name, rows in epic.splits.items()},
            "dropped": epic.dropped | epic_split.dropped,
            "chapters": len({pair.chapter for pair in epic_split.train}) if known else None,
            "neighbour_rule": "the next verse of the same chapter; negatives from other chapters"
            if known
            else "the next row, as chapters are not known; negatives by distance alone",
            "held_out_rule": epic_split.rule,
            "train_rows": len(epic_split.train),
            "held_out_rows": len(epic_split.held_out),
        },
        "verses": {
            "name": verses.name,
            "source": verses.source,
            "rows": len(verses.verses),
            "dropped": verses.dropped,
            "held_out_rule": verse_split.rule,
            **verse_split.counts,
        },
        **{
            stage: {
                "rows": len(triplets),
                "kinds": triplets.kinds(),
                "distinct_texts": len(triplets.texts()),
                "hard_negatives": triplets.num_negatives,
            }
            for stage, triplets in stages.items()
        },
        "evaluation": {
            "name": evalset.name,
            "pairs": len(evalset.pairs),
            "sts": len(evalset.sts),
            "triplets": len(evalset.triplets),
            "sources": evalset.sources,
        },
    }


def contamination(guarded: Sequence[GuardedSet], leaks: Sequence[Leaks]) -> dict[str, Any]:
    """What the leak guard compared, and what it found where leaks are allowed."""
    return {
        "guarded": {one.name: {"texts": len(one.texts), "digest": one.digest} for one in guarded},
        "contaminated": bool(leaks),
        "contaminated_rows": sum(one.rows for one in leaks),
        "leaks": [asdict(one) for one in leaks],
    }


def contamination_note(manifest: Mapping[str, Any]) -> str | None:
    """One sentence for whoever reads a figure of this dataset; None for clean data."""
    if not manifest.get("contaminated"):
        return None
    sets = ", ".join(one["evalset"] for one in manifest["leaks"])
    return (
        f"CONTAMINATED: {manifest['contaminated_rows']} training rows hold texts of the evaluation "
        f"({sets}). The figures tell what the model remembers, not what it has learned."
    )


def token_lengths(lengths_U: np.ndarray, max_length: int) -> dict[str, Any]:
    """:func:`length_summary` of given lengths, none above ``max_length``."""
    return length_summary(np.bincount(lengths_U, minlength=max_length + 1))


def length_summary(count_L: np.ndarray) -> dict[str, Any]:
    """Summary and histogram of the token lengths of distinct texts.

    Bin n counts the lengths from ``edges[n]`` up to, not including, ``edges[n + 1]``. A text of
    ``max_length`` tokens has most likely lost its end.

    Args:
        count_L: how many texts have each length from 0 to ``max_length``, ``int64``.
    """
    texts, max_length = int(count_L.sum()), len(count_L) - 1
    if not texts:
        return {"texts": 0, "tokens": 0}
    width = max(1, -(-max_length // 30))
    edges = np.arange(0, max_length + width + 1, width)
    length_L = np.arange(max_length + 1)
    tokens = int(count_L @ length_L)
    present = np.flatnonzero(count_L)
    counts = np.bincount(length_L // width, weights=count_L, minlength=len(edges) - 1)
    return {
        "texts": texts,
        "tokens": tokens,
        "min": int(present[0]),
        "mean": round(tokens / texts, 2),
        "p50": _percentile(count_L, 50),
        "p95": _percentile(count_L, 95),
        "p99": _percentile(count_L, 99),
        "max": int(present[-1]),
        "at_max_length": int(count_L[-1]),
        "histogram": {"edges": edges.tolist(), "counts": counts.astype(int).tolist()},
    }


def _percentile(count_L: np.ndarray, percent: float) -> int:
    """The percentile of counted lengths, between two of them by interpolation, rounded down."""
    upto_L = np.cumsum(count_L)
    position = (int(upto_L[-1]) - 1) * percent / 100
    low, high = np.searchsorted(upto_L, [int(position), -int(-position // 1)], side="right")
    return int(low + (high - low) * (position - int(position)))


def save_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``manifest.json`` into ``folder``, atomically."""
    write_json(folder / MANIFEST_FILE, dict(manifest))


def load_manifest(folder: Path) -> dict[str, Any]:
    """Read ``manifest.json`` from ``folder``.

    Raises:
        CftError: the file is missing or not JSON.
    """
    path = Path(folder) / MANIFEST_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CftError(f"{path}: no such manifest; prepare the data first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CftError(f"{path}: not valid JSON ({error}); prepare the data again") from None
