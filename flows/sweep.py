"""Every machine of the account against what is wanted: the layer under all others."""

import time
from typing import Any

from prefect import flow

from cft.errors import CftError
from flows.forms_machines import SweepSettings
from flows.hooks import hooks
from tasks.steps import Steps
from tasks.sweep import sweep_machines


@flow(name="sweep", flow_run_name="sweep", **hooks(routine=True))
def sweep(
    settings: SweepSettings = SweepSettings(),  # noqa: B008 (shown in the form)
) -> dict[str, Any]:
    """End rented machines of ours that are past their end, or whose run nobody goes on with.

    It needs nothing of the processes that rented: after all of them were killed it leaves none.

    Args:
        settings: how long a dead run's machine is kept.

    Returns:
        What was found and what became of it.

    Raises:
        CftError: a machine is still there, which its push says as well.
    """
    started = time.perf_counter()
    result = Steps().do(
        "sweep",
        sweep_machines,
        settings.cloud,
        settings.grace_minutes * 60,
        settings.give_up_minutes * 60,
        settings.dry_run,
    )
    if result["still_there"] or result["problems"]:
        left = [f"{one} is still there" for one in result["still_there"]] + result["problems"]
        raise CftError(f"sweep: {'; '.join(left)}")
    return result | {"seconds": round(time.perf_counter() - started, 1)}
