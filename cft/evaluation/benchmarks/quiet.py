"""mteb without its running commentary: what matters is said here, in our own words."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import datasets


@contextlib.contextmanager
def quiet_mteb() -> Iterator[None]:
    """Hold back mteb's and datasets' notes and bars while the block lasts; errors still come."""
    loggers = [logging.getLogger(name) for name in ("mteb", "datasets")]
    levels = [one.level for one in loggers]
    bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        for one in loggers:
            one.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            # "superseded by", "in beta": the tasks were asked for by name.
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
