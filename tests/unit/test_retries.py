"""Trying again where it can help, and only there."""

import importlib
import pkgutil

import pytest
from prefect import Task
from prefect.states import Failed

import tasks
from cft.download import AGAIN
from cft.errors import CftError
from tasks.retries import can_help

# Each of these changes the world once, or costs hours: a second attempt is a person's decision.
NEVER = {"train-stage", "register-adapter", "log-model", "run-suite", "run-benchmark", "mend"}


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        (ConnectionError("refused"), True),
        (TimeoutError("slow"), True),
        (CftError(f"itihasa: the download broke off; {AGAIN}"), True),
        (CftError("itihasa: not there (404); check the address"), False),
    ],
)
def test_what_a_person_must_mend_is_not_tried_again(error: Exception, helps: bool) -> None:
    assert can_help(None, None, Failed(data=error)) is helps


def all_tasks() -> dict[str, Task]:
    found = {}
    for module in pkgutil.walk_packages(tasks.__path__, "tasks."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Task):
                found[value.name] = value
    return found


def test_every_task_that_retries_does_so_with_jitter() -> None:
    known = all_tasks()
    assert set(known) >= NEVER
    for name, task in known.items():
        if name in NEVER:
            assert task.retries == 0, name
        elif task.retries:
            assert task.retry_jitter_factor, name
