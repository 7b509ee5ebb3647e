"""Importing without the collector, which is back afterwards whatever happened."""

import gc

import pytest

from cft.imports import importing


def test_the_collector_rests_meanwhile_and_leaves_alone_what_was_made() -> None:
    frozen = gc.get_freeze_count()
    try:
        with importing():
            assert not gc.isenabled()
            kept = [{"module": number} for number in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= frozen + len(kept)
    finally:
        gc.unfreeze()


def test_an_import_that_fails_brings_it_back() -> None:
    try:
        with pytest.raises(ModuleNotFoundError), importing():
            import no_such_module  # noqa: F401
        assert gc.isenabled()
    finally:
        gc.unfreeze()
