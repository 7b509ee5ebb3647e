"""Importing much at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import what the block names without looking for garbage in between, and never in it again.

    torch, transformers and their like make a million objects that stay as long as the process:
    the collector's walks over them take a tenth of the time, then and at every later collection.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
