"""Whether an encoder was trained on what it is evaluated on: its training rows, where they are."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cft.errors import CftError
from cft.text import text_ids, wording_ids
from cft.triplets.files import triplet_batches
from cft.triplets.leaks import GuardedSet, Leaks, Wordings, find_leaks
from cft.triplets.store import TokenStore
from cft.triplets.store_files import TOKENS
from cft.triplets.stream import TripletBatch, stage_batches

log = logging.getLogger(__name__)

STAGES = ("stage2", "stage1")
SPEC, ADAPTER = "spec.json", "adapter"


def training_data_of(model: Path) -> list[Path]:
    """The tokenised stores that a model was trained on, each once, the last stage first.

    Args:
        model: a run directory, one that holds the stages of a two-stage run, or the adapter of a
            run. Each run's spec names its store and the adapter that it started from.

    Returns:
        Folders, which may be gone; empty for a model that no run of this package made.
    """
    runs = [model.parent if model.name == ADAPTER else model, *(model / one for one in STAGES)]
    run: Path | None = next((one for one in runs if (one / SPEC).is_file()), None)
    stores: list[Path] = []
    seen: set[Path] = set()  # of runs: two may train on one store, and others come before them
    while run is not None and run not in seen and (run / SPEC).is_file():
        seen.add(run)
        spec = _spec(run / SPEC)
        store = spec.get("store")
        if not isinstance(store, str):
            break
        if Path(store) not in stores:
            stores.append(Path(store))
        start = spec.get("init_adapter")
        run = Path(start).parent if isinstance(start, str) else None
    return stores


def find_contamination(name: str, texts: Iterable[str], data: Sequence[Path]) -> list[Leaks]:
    """Training rows that hold texts of a suite.

    Args:
        name: of the suite, for messages.
        texts: every text of the suite.
        data: tokenised stores, prepared data, or files of triplets.

    Raises:
        CftError: one of them is not there or not readable.
    """
    guarded = GuardedSet(name, [(f"text {row}", text) for row, text in enumerate(texts)])
    leaks = []
    for path in data:
        for columns in _columns(path):
            leaks += find_leaks([guarded], columns)
    for leak in leaks:
        log.warning("CONTAMINATED: %s", leak)
    return leaks


def trained_on(texts: Iterable[str], data: Sequence[Path]) -> np.ndarray:
    """Ids of those texts that stand in training rows, ``int64 [K]``, sorted.

    Arguments and errors are those of :func:`find_contamination`.
    """
    texts = list(texts)
    wordings_E = wording_ids(texts)
    seen_E = np.zeros(len(texts), dtype=bool)
    for path in data:
        for columns in _columns(path):
            for ids in columns.values():
                seen_E |= np.isin(wordings_E, ids)
    return np.unique(text_ids(texts)[seen_E])


def _columns(path: Path) -> Iterator[dict[str, np.ndarray]]:
    """Ids of the wordings of training rows, by column."""
    if (path / TOKENS).is_file():
        store = TokenStore.open(path)
        wordings = Wordings(store.all_texts(), store.ids_U)
        parts = [wordings.of(ids) for ids in store.triplet_ids(np.arange(store.rows))]
        yield dict(zip((f"{path.name}.{one}" for one in _NAMES), parts, strict=True))
        return
    if path.is_dir():
        stages = [stage for stage in STAGES if (path / f"{stage}.arrow").is_file()]
        if not stages:
            raise CftError(
                f"{path}: neither a tokenised store nor prepared data; name a folder that "
                "`cft data` or a run has made, or a file of triplets"
            )
        for stage in stages:
            for batch in stage_batches(path, stage):
                yield _of_batch(batch, stage)
    elif path.is_file():
        for batch in triplet_batches(path):
            yield _of_batch(batch, path.name)
    else:
        raise CftError(f"{path}: no such training data; name a folder or a file of triplets")


_NAMES = ("anchor", "positive", "negatives")


def _of_batch(batch: TripletBatch, name: str) -> dict[str, np.ndarray]:
    ids_NC = wording_ids(batch.texts.to_pylist())[batch.places_NC]
    parts = (ids_NC[:, 0], ids_NC[:, 1], ids_NC[:, 2:])
    return {f"{name}.{one}": part for one, part in zip(_NAMES, parts, strict=True)}


def _spec(path: Path) -> dict[str, Any]:
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CftError(f"{path}: not valid JSON ({error}); name another model") from None
    return spec if isinstance(spec, dict) else {}
