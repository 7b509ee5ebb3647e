"""Rows with an int64 key, put in any order and read back in the order of the key, each once.

Rows gather in memory up to a budget. What exceeds it goes to disk in one file per range of keys;
a range that again exceeds the budget is cut into smaller ranges when its turn comes. So memory is
bounded whatever the number of rows, and every row is written to disk about once.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

BITS = 5  # of the key that one level of partitions consumes
_WAYS = 1 << BITS
_MOST_BITS = 60  # keys that agree in so many bits are not worth another level


class Partitions:
    """Rows by key.

    Args:
        folder: where files may be put; each is removed as soon as it was read.
        schema: of the rows; the first column is the key, ``int64``.
        distinct: gives of a batch, sorted by key, what is to be kept of equal rows.
        budget: bytes of rows held in memory.
    """

    def __init__(
        self,
        folder: Path,
        schema: pa.Schema,
        distinct: Callable[[pa.RecordBatch], pa.RecordBatch],
        budget: int,
        used_bits: int = 0,
    ) -> None:
        self._folder = folder
        self._schema = schema
        self._distinct = distinct
        self._budget = budget
        self._used_bits = used_bits
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._files: dict[int, pa.OSFile] = {}
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    @property
    def spilled(self) -> bool:
        """Whether rows went to disk."""
        return bool(self._writers)

    def append(self, batch: pa.RecordBatch) -> None:
        """Put rows in; a batch should be small against the budget."""
        self._held.append(batch)
        self._held_bytes += batch.nbytes
        if self._held_bytes > self._budget:
            merged = self._merged()
            # Repetitions may be all that was too much.
            if merged.nbytes > self._budget // 2:
                self._spill(merged)
            else:
                self._held, self._held_bytes = [merged], merged.nbytes

    def parts(self) -> Iterator[pa.RecordBatch]:
        """All rows, sorted by key and distinct, in parts; no key stands in two of them."""
        if not self._writers:
            if self._held:
                merged = self._merged()
                self._held = []
                yield merged
            return
        if self._held:
            self._spill(self._merged())
        for part, writer in self._writers.items():
            writer.close()
            self._files[part].close()
        for part in sorted(self._writers):
            path = self._path(part)
            if path.stat().st_size > self._budget and self._used_bits + BITS < _MOST_BITS:
                yield from self._cut(path, part)
            else:
                self._held = list(_batches(path))
                path.unlink()
                merged = self._merged()
                self._held = []
                yield merged

    def _cut(self, path: Path, part: int) -> Iterator[pa.RecordBatch]:
        below = self._folder / f"{part:02d}"
        below.mkdir()
        inner = Partitions(
            below, self._schema, self._distinct, self._budget, self._used_bits + BITS
        )
        for batch in _batches(path):
            inner.append(batch)
        path.unlink()
        yield from inner.parts()
        below.rmdir()

    def _merged(self) -> pa.RecordBatch:
        table = pa.Table.from_batches(self._held, self._schema).combine_chunks()
        batch = table.to_batches()[0]
        order = np.argsort(batch.column(0).to_numpy(), kind="stable")
        return self._distinct(batch.take(pa.array(order)))

    def _spill(self, batch: pa.RecordBatch) -> None:
        """Write a sorted batch to the files of its ranges."""
        unsigned = batch.column(0).to_numpy().view(np.uint64) ^ np.uint64(1 << 63)
        shift = np.uint64(64 - self._used_bits - BITS)
        part_N = (unsigned >> shift).astype(np.int64) & (_WAYS - 1)
        bounds = np.searchsorted(part_N, np.arange(_WAYS + 1))
        for part in range(_WAYS):
            low, high = int(bounds[part]), int(bounds[part + 1])
            if low == high:
                continue
            if part not in self._writers:
                self._files[part] = pa.OSFile(str(self._path(part)), "wb")
                self._writers[part] = pa.ipc.new_stream(self._files[part], self._schema)
            self._writers[part].write_batch(batch.slice(low, high - low))
        self._held, self._held_bytes = [], 0

    def _path(self, part: int) -> Path:
        return self._folder / f"{part:02d}.rows"


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as reader:
        yield from reader


def first_of_runs(*columns: np.ndarray) -> np.ndarray:
    """Which rows differ from the row before them in any column, ``bool [N]``."""
    first = np.ones(len(columns[0]), dtype=bool)
    first[1:] = np.logical_or.reduce([one[1:] != one[:-1] for one in columns])
    return first
