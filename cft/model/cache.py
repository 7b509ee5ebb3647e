"""Vectors that were computed once: kept on disk by encoder, prompt and text.

A cache is a folder of shards, one folder for each encoder and prompt. A shard is an Arrow file
that is written whole and never changed, so any number of processes read and write together: two
that encode the same text leave it twice, which harms nothing. An Arrow file ends in its footer, so
one that was cut short is not readable, and is removed; its texts are encoded again.
"""

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from cft.errors import CftError
from cft.files import PARTIAL, digest_code, digest_json, fsync_folder, write_json
from cft.model.vectors import require_texts, require_vectors
from cft.text import ids_of_normalised, text_ids

logger = logging.getLogger("cft.model")

_SUFFIX = ".arrow"
_AT_ONCE = 16384  # texts encoded between two writes: what a killed process loses
_STALE = 86400  # seconds after which a shard that is not whole was left by a killed process
_OFF_UNIT = 1e-3  # how far the norm of a vector that is whole may be from 1


@dataclass(frozen=True)
class Shard:
    """One file: sorted ids ``int64 [N]`` and their unit vectors ``float32 [N, D]``, mapped."""

    ids_N: np.ndarray
    vector_ND: np.ndarray


class EmbeddingCache:
    """The vectors of one encoder under one prompt.

    Args:
        folder: where every encoder's vectors lie.
        key: all that decides a vector besides its text, JSON-like.
        dimension: D.
    """

    def __init__(self, folder: Path, key: dict[str, Any], dimension: int) -> None:
        self.folder = Path(folder) / digest_json(key)
        self.dimension = dimension
        self._shards: dict[str, Shard] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "key.json").exists():
                write_json(self.folder / "key.json", key)
            for partial in self.folder.glob(f".*{PARTIAL}"):
                with contextlib.suppress(FileNotFoundError):  # whole by now, or swept by another
                    if time.time() - partial.stat().st_mtime > _STALE:
                        partial.unlink()
        except OSError as error:
            raise CftError(
                f"{folder}: no embedding cache can be kept there ({error.strerror}); "
                "give another folder"
            ) from None

    def take(self, ids_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is known of some texts.

        Args:
            ids_N: int64 text ids.

        Returns:
            Vectors ``float32 [N, D]``, zero where a text is unknown; and which are known, bool
            ``[N]``.
        """
        vector_ND = np.zeros((len(ids_N), self.dimension), dtype=np.float32)
        known_N = np.zeros(len(ids_N), dtype=bool)
        for name, shard in self._refreshed().items():
            open_M = np.flatnonzero(~known_N)
            if not len(open_M):
                break
            place_M = np.searchsorted(shard.ids_N, ids_N[open_M])
            place_M[place_M == len(shard.ids_N)] = 0
            hit_M = shard.ids_N[place_M] == ids_N[open_M]
            found_MD = shard.vector_ND[place_M[hit_M]]
            norm_M = np.linalg.norm(found_MD, axis=1)
            if not (np.abs(norm_M - 1) < _OFF_UNIT).all():
                self._drop(name, "it holds vectors that are not of unit norm")
                continue
            vector_ND[open_M[hit_M]], known_N[open_M[hit_M]] = found_MD, True
        return vector_ND, known_N

    def put(self, ids_N: np.ndarray, vector_ND: np.ndarray) -> None:
        """Keep the vectors of distinct texts, durable when this returns.

        Raises:
            CftError: they cannot be written.
        """
        if not len(ids_N):
            return
        order = np.argsort(ids_N)
        flat = pa.array(np.ascontiguousarray(vector_ND[order], dtype=np.float32).ravel())
        columns = {
            "id": pa.array(ids_N[order]),
            "vector": pa.FixedSizeListArray.from_arrays(flat, self.dimension),
        }
        batch = pa.record_batch(columns)
        name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"
        beside = self.folder / f".{name}{PARTIAL}"
        try:
            with beside.open("wb") as file:
                with pa.ipc.new_file(file, batch.schema) as writer:
                    writer.write_batch(batch)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.folder / f"{name}{_SUFFIX}")
            fsync_folder(self.folder)
        except BaseException as error:
            beside.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise CftError(
                    f"{self.folder}: vectors cannot be kept ({error.strerror}); free space or "
                    "give another folder"
                ) from None
            raise

    def _refreshed(self) -> dict[str, Shard]:
        """All shards that are whole, those that others have written since included."""
        names = {path.name for path in self.folder.glob(f"*{_SUFFIX}")}
        self._shards = {name: one for name, one in self._shards.items() if name in names}
        for name in sorted(names - self._shards.keys()):
            try:
                self._shards[name] = _open(self.folder / name, self.dimension)
            except FileNotFoundError:  # another process has found it damaged
                continue
            except (pa.ArrowInvalid, OSError, ValueError) as error:
                self._drop(name, " ".join(str(error).split())[:120])
        return dict(self._shards)

    def _drop(self, name: str, reason: str) -> None:
        logger.warning(
            "%s: damaged (%s); removed, its texts are encoded again", self.folder / name, reason
        )
        self._shards.pop(name, None)
        (self.folder / name).unlink(missing_ok=True)


def _open(path: Path, dimension: int) -> Shard:
    with pa.memory_map(str(path)) as source:
        batch = pa.ipc.open_file(source).get_batch(0)
    vectors = batch.column("vector")
    if batch.column("id").type != pa.int64() or vectors.type != pa.list_(pa.float32(), dimension):
        raise ValueError(f"its columns are {batch.schema.types}")
    flat = vectors.flatten().to_numpy(zero_copy_only=True)
    return Shard(batch.column("id").to_numpy(), flat.reshape(len(batch), dimension))


class CachedEncoder:
    """An encoder that computes the vector of a text once, whatever process asks for it.

    Args:
        encoder: with ``name``, ``revision``, ``precision``, ``dimension``, ``normalises`` and
            both prompts.
        folder: the cache; many encoders may share it.
    """

    def __init__(self, encoder: Any, folder: Path) -> None:
        self.encoder = encoder
        self.folder = Path(folder)
        self._caches: dict[str, EmbeddingCache] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "encoder":  # asked for before it is set, while unpickling
            raise AttributeError(name)
        return getattr(self.encoder, name)

    def encode(
        self,
        texts: Sequence[str],
        *,
        prompt: str | None = None,
        batch_tokens: int = 8192,
        progress: bool = True,
    ) -> np.ndarray:
        """What the encoder gives, ``float32 [N, D]``, in the order of ``texts``.

        Equal to encoding without a cache but for rounding, as batches hold other texts.

        Raises:
            CftError: a text or a vector is not usable. Vectors before it are kept.
        """
        require_texts(texts, self.name)
        started = time.perf_counter()
        cache = self._cache(self.document_prompt if prompt is None else prompt)
        # Ids are of normal forms where the encoder sees these alone, else of the texts as they are.
        ids_N = text_ids(texts) if self.normalises else ids_of_normalised(texts)
        distinct_U, first_U, text_N = np.unique(ids_N, return_index=True, return_inverse=True)
        vector_UD, known_U = cache.take(distinct_U)
        # Longest first, so that texts of one write are of similar length and pad little.
        missing_M = np.flatnonzero(~known_U)
        lengths_M = np.array([len(texts[first_U[one]]) for one in missing_M], dtype=np.int64)
        missing_M = missing_M[np.argsort(-lengths_M, kind="stable")]
        with tqdm(
            total=len(missing_M), desc="encoding", unit="text",
            disable=not progress or not len(missing_M),
        ) as bar:  # fmt: skip
            for start in range(0, len(missing_M), _AT_ONCE):
                rows = missing_M[start : start + _AT_ONCE]
                some = [texts[one] for one in first_U[rows]]
                found_RD = self.encoder.encode(
                    some, prompt=prompt, batch_tokens=batch_tokens, progress=False
                )
                require_vectors(found_RD, some, self.name, self.dimension)
                cache.put(distinct_U[rows], found_RD)
                vector_UD[rows] = found_RD
                bar.update(len(rows))
        if progress:
            seconds = time.perf_counter() - started
            logger.info(
                "%s: %d texts (%d distinct, %d from the cache) in %.1f s, %.0f texts/s",
                self.name, len(texts), len(distinct_U), int(known_U.sum()), seconds,
                len(texts) / max(seconds, 1e-9),
            )  # fmt: skip
        return vector_UD[text_N]

    def _cache(self, prompt: str) -> EmbeddingCache:
        if prompt not in self._caches:
            # What computes a vector decides it too: the encoder's own module, and all below it.
            module = type(self.encoder).__module__
            own = [module] if module.startswith("cft.") else []
            key = {
                "revision": self.revision,
                "code": digest_code("cft.model", "cft.text", *own),
                "precision": self.precision,
                "prompt": prompt,
                "dimension": self.dimension,
            }
            self._caches[prompt] = EmbeddingCache(self.folder, key, self.dimension)
        return self._caches[prompt]
