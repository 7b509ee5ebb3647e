"""Arrow files: written in batches, read through a memory map without copies."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from cft.errors import CftError


def write_table(
    path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, compress: bool = False
) -> None:
    """Write an Arrow IPC file; only one batch is in memory at a time.

    Compressed (zstd) columns are smaller but are copies when read, not views of the map.
    """
    options = pa.ipc.IpcWriteOptions(compression="zstd" if compress else None)
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, schema, options=options) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)


def map_file(path: Path) -> pa.Buffer:
    """The bytes of a file as a memory-mapped buffer.

    Raises:
        CftError: the file is missing or empty.
    """
    try:
        return pa.memory_map(str(path)).read_buffer()
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise CftError(f"{path}: cannot be mapped ({error}); build it again") from None


def table_of(buffer: pa.Buffer, path: Path) -> pa.Table:
    """The table in a mapped Arrow IPC file; its columns are views of the map.

    Raises:
        CftError: the file is not a whole Arrow file.
    """
    try:
        return pa.ipc.open_file(pa.BufferReader(buffer)).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise CftError(f"{path}: not a whole Arrow file ({error}); build it again") from None


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A numeric column as one array: a view where the file has one batch."""
    parts = [chunk.to_numpy(zero_copy_only=True) for chunk in column.chunks]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, column.type.to_pandas_dtype())


def fixed_lists(ids_NK: np.ndarray) -> pa.FixedSizeListArray:
    """Rows of K numbers as an Arrow column."""
    flat = pa.array(np.ascontiguousarray(ids_NK).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, ids_NK.shape[1])
