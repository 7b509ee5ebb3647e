"""The folder of a mining job in progress: finished parts survive a killed process."""

import contextlib
import fcntl
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cft.errors import CftError
from cft.files import PARTIAL, write_atomic


class Workshop:
    """Arrays by name, each whole or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def arrays(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of a part: made now and saved, or read where they were saved before."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            buffer = io.BytesIO()
            np.savez(buffer, allow_pickle=False, **make())
            write_atomic(path, buffer.getvalue())
        with np.load(path, allow_pickle=False) as saved:
            return dict(saved)

    def matrix(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """One array of a part, memory-mapped."""
        path = self.folder / f"{name}.npy"
        if not path.exists():
            buffer = io.BytesIO()
            np.save(buffer, make(), allow_pickle=False)
            write_atomic(path, buffer.getvalue())
        return np.load(path, mmap_mode="r", allow_pickle=False)


@contextlib.contextmanager
def workshop(output: Path, digest: str) -> Iterator[Workshop]:
    """The workshop of the job that writes ``output``, beside it; removed when the block succeeds.

    A killed or interrupted process leaves it: the next job with the same digest goes on with its
    parts. Those of other jobs for the same output are removed.

    Raises:
        CftError: another process writes the same output.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = output.parent / f".{output.name}.{digest}{PARTIAL}"
    with _only_writer(output):
        for stale in output.parent.glob(f".{output.name}.*{PARTIAL}"):
            if stale.is_dir() and stale != folder:
                shutil.rmtree(stale, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        try:
            yield Workshop(folder)
        except CftError:  # the same input would fail again
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


@contextlib.contextmanager
def _only_writer(output: Path) -> Iterator[None]:
    path = output.parent / f".{output.name}.lock"
    with path.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A writer that ends removes its lock: what was locked may be that removed file.
            if not (path.exists() and os.path.samestat(os.fstat(held.fileno()), path.stat())):
                raise BlockingIOError
        except OSError:
            raise CftError(
                f"{output}: another process is writing it; wait for it or name another --output"
            ) from None
        try:
            yield
        finally:
            path.unlink()
