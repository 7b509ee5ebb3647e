"""What happens when a run starts or ends: a push, and after a cancellation the end of its jobs.

Prefect runs hooks outside of the run's context: in the flow's own process, or, when that process
was killed or cancelled, in a fresh one that the worker starts. So all that a hook tells is read by
the run's id: from the run directory, from Prefect's API and from MLflow, each within a bound.
"""

import time
from typing import Any

from prefect import Flow, State
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.logging.loggers import flow_run_logger

from cft.errors import one_line
from cft.home import Home
from cft.recipe import TrackingRecipe
from tasks.machine.hire import give_back, lease_folder
from tasks.machine.jobs import stop_jobs
from tasks.machine.remote_jobs import stop_remote_jobs
from tasks.notify import push
from tasks.notify.bounded import within
from tasks.notify.facts import Facts, facts_of, said_by
from tasks.notify.links import flow_run_page, tracked_run_page
from tasks.notify.machines import release_failed
from tasks.notify.outcome import Ending, Outcome, compared, outcome_push
from tasks.notify.registered import known_of
from tasks.notify.settings import find_settings

SECONDS = 12.0  # all that a push may hold a run
API_SECONDS = 3.0
MACHINE_SECONDS = 40.0  # the end of a machine is asked for at once, and often seen by then
LIVING = "Its training goes on unwatched; retry the run to take it up."


def hooks(routine: bool = False) -> dict[str, Any]:
    """The hooks of every flow: ``@flow(name=…, **hooks())``.

    Args:
        routine: the flow runs every few minutes, and nobody wants to hear that it went well.
    """
    well = {} if routine else {"on_running": [tell_started], "on_completion": [tell_completed]}
    return well | {
        "on_failure": [end_machines, tell_failed],
        "on_crashed": [tell_crashed],  # its machine is kept: a retry finds its training there
        "on_cancellation": [end_jobs, end_machines, tell_cancelled],
    }


# Prefect calls hooks by position in the flow's process and by these names in the worker's.
def tell_started(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Push that a run has started, where that was asked for; the run does not wait for it."""
    logger = flow_run_logger(flow_run, flow)

    def tell() -> None:
        try:
            settings = find_settings()
        except Exception:  # its end will say so
            return
        if settings is not None and settings.started:
            _tell("started", flow, flow_run, state)

    try:
        within(0, tell)
    except TimeoutError:
        logger.debug("the push of the start is on its way")


def tell_completed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Push that a run has completed."""
    _bounded("completed", flow, flow_run, state)


def tell_failed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Push that a run has failed."""
    _bounded("failed", flow, flow_run, state)


def tell_crashed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Push that a run has crashed."""
    _bounded("crashed", flow, flow_run, state)


def tell_cancelled(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Push that a run was cancelled."""
    _bounded("cancelled", flow, flow_run, state)


def end_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Stop what a cancelled run has started: its jobs outlive the flow's process by design."""
    logger = flow_run_logger(flow_run, flow)
    try:
        for job in stop_jobs(Home.from_environment(), str(flow_run.id)):
            logger.info("%s: its job was stopped", job.stage)
    except Exception as error:
        logger.warning("the jobs of this run were not stopped (%s)", one_line(error))


def end_machines(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Give back what a run has rented, and end its jobs on a host of one's own.

    The flow's own process has done so where it could; what this cannot, the sweep does.
    """
    logger, home, run = flow_run_logger(flow_run, flow), Home.from_environment(), str(flow_run.id)
    try:
        if not lease_folder(home, run).is_dir():
            return
        note = f"its run is {state.name.lower() if state.name else 'over'}"
        released = within(
            MACHINE_SECONDS + 5.0,
            lambda: give_back(
                home, run, note, MACHINE_SECONDS, lambda alarm: release_failed(alarm, home)
            ),
        )
        for entry in released:
            logger.info("%s: given back", entry.identity.name)
        for job in stop_remote_jobs(home, run, seconds=MACHINE_SECONDS):
            logger.info("%s: its job on %s was stopped", job.stage, job.address)
    except Exception as error:
        logger.warning(
            "the machine of this run may still be there (%s); see `cft machines list`",
            one_line(error),
        )


def _bounded(ending: Ending, flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Push an ending within :data:`SECONDS`, or say why not. Never raises."""
    logger = flow_run_logger(flow_run, flow)
    try:
        within(SECONDS, _tell, ending, flow, flow_run, state)
    except TimeoutError as error:
        logger.warning("push of %s: %s", ending, error)
    except Exception as error:  # a run is worth more than its push
        logger.warning("push of %s: %s", ending, one_line(error))


def _tell(ending: Ending, flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    began = time.monotonic()
    home, current = Home.from_environment(), _current(flow_run)
    if ending == "crashed" and _is_being_cancelled(current):
        return  # the signal that ends a cancelled run may look like a crash; the other hook tells
    facts = Facts() if ending == "started" else facts_of(home, str(current.id))
    # A run that never came to run has not counted its attempt.
    attempt = current.run_count or state.id
    push(
        _composed(ending, flow.name, current, state, home, facts),
        f"{current.id}-{ending}-{attempt}",
        home=home,
        seconds=SECONDS - (time.monotonic() - began) - 0.5,
        say=flow_run_logger(flow_run, flow),
    )


def _composed(
    ending: Ending, flow: str, run: FlowRun, state: State[Any], home: Home, facts: Facts
) -> Any:
    result = facts.result if ending == "completed" else {}
    model = str(result.get("model") or TrackingRecipe().model_name) if facts.headlines else None
    ids = (facts.result.get("mlflow_experiment_id"), facts.result.get("mlflow_run_id"))
    page, lines = None, []
    if (home.runs / str(run.id)).is_dir():  # without one, the run has told MLflow nothing
        known = known_of(home, str(run.id), model if result else None)
        found = (str(ids[0]), str(ids[1])) if all(ids) else known.run
        page = tracked_run_page(home, *found) if found else None
        if result:
            digest = str(result.get("corpus", "")).rpartition("/")[2]
            lines += compared(facts.headlines, known.champion, known.tags, digest)
    lines += said_by(result)
    if ending == "crashed" and facts.living:
        lines.append(LIVING)
    return outcome_push(
        Outcome(
            flow=flow,
            run=run.name,
            ending=ending,
            attempt=max(1, run.run_count),
            seconds=None if ending == "started" else _seconds(run, state),
            # A job that ended well says nothing about the failure that came after it.
            exit=facts.exit if ending == "completed" or facts.failed else None,
            reason=state.message,
            lines=lines,
        ),
        click=flow_run_page(str(run.id)),
        mlflow=page,
    )


def _seconds(run: FlowRun, state: State[Any]) -> float | None:
    began = run.start_time or run.expected_start_time
    if began is None or state.timestamp is None:
        return None
    return max(0.0, (state.timestamp - began).total_seconds())


def _current(flow_run: FlowRun) -> FlowRun:
    """The run as the server knows it: what a hook is given may be older than the run's start.

    Two processes may tell of one ending; only the server's count of attempts is the same in both.
    """
    try:
        return within(API_SECONDS, _read, flow_run)
    except Exception:  # then what was given has to do
        return flow_run


def _read(flow_run: FlowRun) -> FlowRun:
    with get_client(sync_client=True, httpx_settings={"timeout": API_SECONDS}) as client:
        return client.read_flow_run(flow_run.id)


def _is_being_cancelled(run: FlowRun) -> bool:
    return run.state is not None and run.state.type in (StateType.CANCELLING, StateType.CANCELLED)
