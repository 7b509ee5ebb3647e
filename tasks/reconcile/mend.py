"""Doing what was decided: each action by itself, each harmless when it is done twice."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import AwaitingRetry, Cancelled, Crashed, State

from cft.errors import one_line
from cft.home import Home
from tasks.machine.jobs import stop_jobs
from tasks.machine.remote_jobs import stop_remote_jobs
from tasks.reconcile.facts import Action, Kind, Outcome

logger = logging.getLogger("cft.reconcile")

HOST_SECONDS = 40.0  # for the jobs of one run on other hosts; one that is away holds a pass so long


class NotDoneError(Exception):
    """The action was refused, or the world has changed since it was decided."""


def mend(client: SyncPrefectClient, home: Home, actions: list[Action]) -> list[Outcome]:
    """Do every action; one that fails does not stop the others."""
    done: list[Outcome] = []
    failed: set[str] = set()
    for action in actions:
        if action.subject in failed:
            done.append(Outcome(action, False, "what had to come before it was not done"))
            continue
        try:
            detail = DOERS[action.kind](client, home, action)
            done.append(Outcome(action, True, detail))
            logger.info("%s: %s (%s)", action.title, action.kind, action.reason)
        except Exception as error:  # the server, the host and the kernel each have their own
            failed.add(action.subject)
            done.append(Outcome(action, False, one_line(error)))
            logger.warning("%s: %s failed (%s)", action.title, action.kind, one_line(error))
    return done


def _crash(client: SyncPrefectClient, home: Home, action: Action) -> str:
    _require_unchanged(client, action)
    _set(client, action, Crashed(message=f"Found dead by reconcile: {action.reason}."))
    return "marked as Crashed"


def _cancel(client: SyncPrefectClient, home: Home, action: Action) -> str:
    _require_unchanged(client, action)
    _set(client, action, Cancelled(message=f"Found dead by reconcile: {action.reason}."))
    return "marked as Cancelled"


def _retry(client: SyncPrefectClient, home: Home, action: Action) -> str:
    state = client.read_flow_run(UUID(action.subject)).state
    # It is the state that was looked at, or the one that the action before has set.
    if state is None or not state.is_crashed():
        raise NotDoneError(f"it is {state.name if state else 'nowhere'} by now")
    retry: State[None] = AwaitingRetry(
        scheduled_time=datetime.now(UTC), message=f"Retried by reconcile: {action.reason}."
    )
    # By force, as Retry in the UI: the rules would take it for a run that was never begun.
    _set(client, action, retry, force=True)
    return f"scheduled again, attempt {action.number + 1}"


def _stop(client: SyncPrefectClient, home: Home, action: Action) -> str:
    state = client.read_flow_run(UUID(action.subject)).state
    if state is None or not state.is_final() or state.is_crashed():
        raise NotDoneError(f"it is {state.name if state else 'nowhere'} by now")
    stopped = stop_jobs(home, action.subject)
    if left := [job.stage for job in stopped if job.state.running]:
        raise NotDoneError(f"the kernel does not let go of {', '.join(left)}")
    names = [job.stage for job in stopped]
    # A host that is away is an error, and is asked again in the next pass.
    there = stop_remote_jobs(home, action.subject, seconds=HOST_SECONDS)
    names += [f"{job.stage} on {job.address}" for job in there]
    return f"stopped {', '.join(names) or 'nothing: it had ended'}"


def _free(client: SyncPrefectClient, home: Home, action: Action) -> str:
    limit = client.read_global_concurrency_limit_by_name(action.subject)
    if limit.active_slots <= action.number:
        return "it was free already"
    update = GlobalConcurrencyLimitUpdate(active_slots=action.number)
    client.update_global_concurrency_limit(action.subject, update)
    return f"{limit.active_slots - action.number} slots given back"


DOERS: dict[Kind, Callable[[SyncPrefectClient, Home, Action], str]] = {
    "crash": _crash,
    "cancel": _cancel,
    "retry": _retry,
    "stop": _stop,
    "free": _free,
}


def _require_unchanged(client: SyncPrefectClient, action: Action) -> None:
    state = client.read_flow_run(UUID(action.subject)).state
    if state is None or str(state.id) != action.state_id:
        raise NotDoneError(f"it is {state.name if state else 'nowhere'} by now")


def _set(
    client: SyncPrefectClient, action: Action, state: State[Any], *, force: bool = False
) -> None:
    answer = client.set_flow_run_state(UUID(action.subject), state, force=force)
    if answer.status != SetStateStatus.ACCEPT:
        reason = getattr(answer.details, "reason", None) or answer.status.value
        raise NotDoneError(f"the server refused: {reason}")
