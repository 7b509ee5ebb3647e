"""Give the alias champion back to the version that had it before."""

from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from cft.home import Home
from flows.console import end_on_signals, use_terminal
from flows.forms_registry import RollbackSettings
from flows.hooks import hooks
from flows.outcome import Ending, show
from tasks.registry import rollback_version
from tasks.steps import Steps


@flow(name="rollback", flow_run_name="{settings.model_name}", **hooks())
def rollback(
    settings: RollbackSettings = RollbackSettings(),  # noqa: B008 (shown in the form)
) -> State[dict[str, Any]]:
    """Swap champion and previous champion; a second rollback swaps them again.

    Args:
        settings: which model, and why.

    Returns:
        Who is champion now, in one sentence as the state's message and in `result.json`.
    """
    from tasks.notify import events

    home, job, steps = Home.from_environment(), str(flow_run.id), Steps()
    ending = Ending(home, job, steps, settings.model_name)
    reason = settings.reason or "rolled back by a person"
    move = steps.do("rollback", rollback_version, settings.model_name, job, reason)
    events.champion_changed(
        model=settings.model_name,
        version=move.version,
        flow_run_id=job,
        previous=move.previous,
        reason=move.reason,
    )
    ending.note(version=move.version)
    ending.note_move(move)
    return ending.end(
        "rolled back", f"rolled back: version {move.version} is champion, was {move.previous}"
    )


def run_and_show(settings: RollbackSettings) -> dict[str, Any]:
    """Run the flow in this process and print who is champion now."""
    use_terminal()
    end_on_signals()
    result: Any = rollback(settings)
    show(result)
    return result
