"""Where trying again can help: servers and networks. Never with training or registration."""

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from cft.download import AGAIN
from cft.errors import CftError


def can_help(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether another attempt may end otherwise.

    What a person has to mend stays as it is; a download that says "again" goes on where it was.
    """
    error = state.data
    return AGAIN in str(error) if isinstance(error, CftError) else True


# For `@task(**ON_NETWORK)`. The jitter keeps flows apart that failed by the same outage.
ON_NETWORK: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [2, 10, 30],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": can_help,
}
