"""Whatever a user names: a folder of prepared data, a tokenised store, or a file of triplets."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from cft.errors import CftError
from cft.files import digest_file
from cft.mining.pairs import read_pairs
from cft.mining.question import Pairs
from cft.triplets.base import Triplets
from cft.triplets.files import read_triplets
from cft.triplets.manifest import load_manifest
from cft.triplets.prepare import STAGES, load_triplets
from cft.triplets.store import TokenStore
from cft.triplets.store_files import TEXTS_PER_BATCH, TOKENS, TRIPLETS
from cft.triplets.tables import map_file, table_of


@dataclass(frozen=True)
class Part:
    """The triplets of one stage, store or file.

    Attributes:
        name: ``stage1``, ``stage2`` or ``triplets``.
        kind: how each row was made.
        take: triplets of the given rows, ``int64 [M]``.
    """

    name: str
    kind: list[str]
    take: Callable[[np.ndarray], Triplets]

    def sample(self, rows: int, seed: int) -> Triplets:
        """At most so many rows drawn by the seed, in their order."""
        drawn = np.random.default_rng(seed).permutation(len(self.kind))[:rows]
        return self.take(np.sort(drawn))

    def sample_of(self, kind: str, rows: int, seed: int) -> Triplets:
        """At most so many rows of one kind drawn by the seed, in their order."""
        own = np.flatnonzero(np.array(self.kind) == kind)
        return self.take(np.sort(np.random.default_rng(seed).permutation(own)[:rows]))


@dataclass(frozen=True)
class Dataset:
    """Parts and manifest of a folder or file.

    Attributes:
        path: what the user named.
        manifest: of a folder; for a file its digest and counts.
        parts: at least one.
    """

    path: Path
    manifest: dict[str, Any]
    parts: list[Part]

    @property
    def is_folder(self) -> bool:
        """Whether there is a place for figures beside the data."""
        return self.path.is_dir()


def open_dataset(path: Path) -> Dataset:
    """Open prepared data, a store or a file.

    Raises:
        CftError: there is nothing at ``path``, or it is none of these or not whole.
    """
    if not path.exists():
        raise CftError(f"{path}: does not exist; name prepared data, a store or a file of triplets")
    if path.is_file():
        triplets = read_triplets(path)
        counts = {"rows": len(triplets), "hard_negatives": triplets.num_negatives}
        manifest = {
            "file": {"source": {path.name: digest_file(path)}},
            "triplets": {**counts, "kinds": triplets.kinds()},
        }
        return Dataset(path, manifest, [_of_triplets("triplets", triplets)])
    if (path / TOKENS).is_file():
        return Dataset(path, load_manifest(path), [_of_store(path)])
    stages = [stage for stage in STAGES if (path / f"{stage}.arrow").is_file()]
    if not stages:
        raise CftError(
            f"{path}: neither prepared data (stage1.arrow) nor a tokenised store ({TOKENS}); "
            "prepare the data first"
        )
    parts = [_of_triplets(stage, load_triplets(path, stage)) for stage in stages]
    return Dataset(path, load_manifest(path), parts)


def open_pairs(path: Path, stage: str) -> Pairs:
    """The rows to mine for: of a file, which needs no negatives, of one stage, or of a store.

    Raises:
        CftError: as :func:`open_dataset`, or the folder has no such stage.
    """
    if path.is_file():
        return read_pairs(path)
    parts = {part.name: part for part in open_dataset(path).parts}
    name = stage if stage in parts else "triplets"
    if name not in parts:
        raise CftError(f"{path}: no {stage}.arrow; name a stage that it has: {', '.join(parts)}")
    return Pairs.of(parts[name].take(np.arange(len(parts[name].kind))))


def _of_triplets(name: str, triplets: Triplets) -> Part:
    def take(row_M: np.ndarray) -> Triplets:
        rows = row_M.tolist()
        return Triplets(
            [triplets.anchor[row] for row in rows],
            [triplets.positive[row] for row in rows],
            [triplets.negatives[row] for row in rows],
            [triplets.kind[row] for row in rows],
        )

    return Part(name, triplets.kind, take)


def _of_store(folder: Path) -> Part:
    store = TokenStore.open(folder)
    path = folder / TRIPLETS
    kind = table_of(map_file(path), path)["kind"].to_pylist()

    def take(row_M: np.ndarray) -> Triplets:
        anchor_M, positive_M, negative_MK = store.triplet_ids(row_M)
        ids_MC = np.column_stack([anchor_M, positive_M, negative_MK])
        distinct_U, place = np.unique(ids_MC, return_inverse=True)
        texts_U = np.array(_texts_of(store, distinct_U), dtype=object)
        cells = texts_U[place.reshape(ids_MC.shape)].tolist()
        return Triplets(
            [row[0] for row in cells],
            [row[1] for row in cells],
            [tuple(row[2:]) for row in cells],
            [kind[row] for row in row_M.tolist()],
        )

    return Part("triplets", kind, take)


def _texts_of(store: TokenStore, ids_U: np.ndarray) -> list[str]:
    """Texts of distinct ids, sorted by id.

    Many are picked on one walk over the store: one alone costs the unpacking of its whole batch.
    """
    there_S = np.isin(store.ids_U, ids_U, assume_unique=True)
    lacking = np.count_nonzero(there_S) < len(ids_U)  # the store itself says which
    if lacking or len(ids_U) * TEXTS_PER_BATCH < store.texts:
        return [store.text(one) for one in ids_U.tolist()]
    return list(compress(store.all_texts(), there_S))


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where there is no such file.

    Raises:
        CftError: the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CftError(f"{path}: not valid JSON ({error}); remove the file") from None
