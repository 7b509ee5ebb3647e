"""A Prefect server and a state folder for the flows under test, and the smallest real recipe."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cft.home import Home
from cft.recipe import Recipe, validated
from tests.integration.migrated import migrated

TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"num_rows": 800, "eval_pairs": 60},
    "model": {
        "max_length": 48,
        "nano": {
            "vocab_size": 1024,
            "hidden_size": 64,
            "num_layers": 2,
            "max_steps": 20,
            "batch_tokens": 1024,
        },
    },
    "stage1": {
        "learning_rate": 2e-3,
        "max_steps": 6,
        "warmup_steps": 1,
        "batch_size": 8,
        "save_steps": 3,
        "logging_steps": 1,
    },
    "stage2": {
        "learning_rate": 1e-3,
        "max_steps": 4,
        "warmup_steps": 1,
        "batch_size": 8,
        "save_steps": 2,
        "logging_steps": 1,
    },
    "launch": {"device": "cpu", "num_processes": 1},
    "evaluation": {"bootstrap_samples": 100},
}


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """Both stages in some seconds, on the embedded corpus."""
    return validated(TINY, "the tests")


def with_ranks(recipe: Recipe, ranks: int) -> Recipe:
    """The recipe on more than its one rank, where ranks are the point: each costs its imports."""
    return recipe.model_copy(
        update={"launch": recipe.launch.model_copy(update={"num_processes": ranks})}
    )


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A state folder of the session's own, with a Prefect server behind it."""
    from flows.environment import environment_of

    home = Home(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_of(home).items():
            patch.setenv(name, value)
        from prefect.settings import (
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
            PREFECT_LOCAL_STORAGE_PATH,
            temporary_settings,
        )
        from prefect.testing.utilities import prefect_test_harness

        database = migrated(tmp_path_factory.mktemp("prefect"), "prefect-test.db")
        patch.setattr("prefect.testing.utilities.mkdtemp", lambda: str(database))
        results = Path(environment_of(home)["PREFECT_LOCAL_STORAGE_PATH"])
        # The heartbeat's thread takes a second to end with every flow.
        settings = {PREFECT_LOCAL_STORAGE_PATH: results, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
        with prefect_test_harness(server_startup_timeout=180), temporary_settings(settings):
            yield home


@pytest.fixture(scope="session")
def first_run(home: Home, tiny: Recipe) -> dict[str, Any]:
    """The result of the tiny two-stage flow, run for real, once."""
    from flows.two_stage import two_stage

    return two_stage(tiny)
