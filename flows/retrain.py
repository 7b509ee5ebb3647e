"""Train anew where there is something new, and let the result pass the gate or not."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from mlflow.entities.model_registry import ModelVersion
from prefect import State, flow
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import deployment, flow_run

from cft.errors import CftError
from cft.evaluation.gate import require_known
from cft.files import write_json
from cft.home import Home
from cft.model.identity import backbone_digest
from cft.recipe import Recipe, training_digest
from flows.approval import Approval
from flows.console import end_on_signals, use_terminal
from flows.forms_registry import RetrainSettings
from flows.gating import Gated, bout_of, gated, promoted_by_gate
from flows.hooks import hooks
from flows.outcome import Ending, because, show
from flows.prepare import Prepared, prepared
from flows.two_stage import run_two_stage
from tasks.backbone import given_backbone
from tasks.data import require_sources
from tasks.registry import find_promotion, record_verdict, version_made_from
from tasks.steps import Steps
from tasks.train import TrainingError


@flow(name="retrain", flow_run_name="{settings.recipe.name}", **hooks())
def retrain(
    settings: RetrainSettings = RetrainSettings(),  # noqa: B008 (shown in the form)
) -> State[dict[str, Any]]:
    """Train a challenger where data, recipe or backbone are new, and hold it to the gate.

    The same flow run can be repeated from the top: after a crash, and after a person has decided.
    What it has done stands in its run directory and is not done again. A challenger whose own run
    ended before anything was decided is taken up by the next run, without training.

    Args:
        settings: recipe, gate, and what follows from a passed gate.

    Returns:
        What came of it: `nothing new`, `refused`, `passed`, `waiting`, `declined` or `promoted`,
        in one sentence as the state's message, with references in `result.json`.
    """
    recipe = settings.recipe
    home, job, steps = Home.from_environment(), str(flow_run.id), Steps()
    name = recipe.tracking.model_name
    ending = Ending(home, job, steps, name)
    require_known(settings.gate)
    made = prepared(recipe, home, steps)
    record = home.runs / job / "two-stage.json"
    if not settings.force and not record.exists():
        same = version_made_from(home, name, digests_of(recipe, made), job)
        if same is not None and (left := _left_undecided(home, same, settings.policy)):
            write_json(record, left)  # as if this run had trained it: only the rest is to be done
        elif same is not None:
            verdict = same.tags.get("gate_verdict", "never held to the gate")
            ending.note(version=str(same.version))
            return ending.end(
                "nothing new",
                f"nothing new: version {same.version} of {name} was trained on this data, recipe "
                f"and backbone (gate: {verdict})",
            )
    trained = _trained(settings, job, steps, made, record)
    version = trained["version"]
    ending.note(version=version, training=trained)

    move = steps.do("find promotion", find_promotion, name, job)
    if move is not None:
        ending.note_move(move)
        return ending.end("promoted", f"promoted: version {version} is champion")
    bout = bout_of(
        home,
        name,
        version,
        made.corpus,
        settings.gate,
        recipe.evaluation,
        device=recipe.launch.device,
        trust_remote_code=recipe.model.trust_remote_code,
    )
    ending.note(champion=bout.champion)
    found = gated(home, job, steps, bout, recipe.tracking.experiment)
    ending.note_gate(found)
    if not found.decision.passed:
        return ending.end("refused", f"refused: {because(found.decision.reasons)}")
    if settings.policy == "never":
        return ending.end("passed", f"passed: version {version} stays a candidate by policy")
    reason = "passed the gate"
    if settings.policy == "approve":
        if deployment.id is None:
            return ending.end(
                "waiting",
                f"waiting: version {version} passed, but only a run of a deployment can ask a "
                f"person; promote it by the flow promote, or run with policy promote",
            )
        word = _asked(found, job, settings.approval_timeout_hours)
        if not word.approve:
            tags = {"approval": "declined", "approval_reason": word.reason}
            steps.do("record word", record_verdict, name, version, tags)
            return ending.end("declined", f"declined by a person: {word.reason or 'no reason'}")
        reason = word.reason or "approved by a person"
    move = promoted_by_gate(steps, job, found, reason)
    ending.note_move(move)
    return ending.end(
        "promoted", f"promoted: version {version} is champion, was {move.previous or 'nobody'}"
    )


def digests_of(recipe: Recipe, made: Prepared) -> dict[str, str]:
    """The tags that say what a version was made from."""
    return {
        "recipe_digest": training_digest(recipe),
        "data_digest": made.corpus.name,
        "backbone_digest": backbone_digest(made.backbone),
    }


def _left_undecided(home: Home, version: ModelVersion, policy: str) -> dict[str, Any] | None:
    """The record of the retraining that made a version and ended before anything was decided.

    Its host was lost before the gate, say, or nobody answered in time. None where there is a
    decision, where that run may still come to one, or where no retraining made the version.
    """
    tags = version.tags
    passed = tags.get("gate_verdict") in ("passed", "first")
    open_still = passed and policy != "never" and not {"approval", "promoted_at"} & tags.keys()
    maker = tags.get("flow_run_id", "")
    record = home.runs / maker / "two-stage.json"
    if not (open_still or "gate_verdict" not in tags) or not maker or not record.exists():
        return None
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectNotFound):
        state = client.read_flow_run(UUID(maker)).state
        if state is not None and not state.is_final():
            return None
    return json.loads(record.read_text(encoding="utf-8"))


def _trained(
    settings: RetrainSettings, job: str, steps: Steps, made: Prepared, record: Path
) -> dict[str, Any]:
    """The two stages, or their record where this flow run has finished them before."""
    if record.exists():
        return json.loads(record.read_text(encoding="utf-8"))
    result = run_two_stage(settings.recipe, job, steps, made, settings.machine)
    if result["version"] is None:
        raise CftError(
            "MLflow: has not taken the new version yet, so it cannot be held to the gate; retry "
            "this run when MLflow answers: it finds the training done"
        )
    write_json(record, result)
    return result


def _asked(found: Gated, job: str, hours: float) -> Approval:
    """A person's word: suspends the flow run until it is given, then returns it."""
    from tasks.notify import events

    bout = found.bout
    events.approval_wanted(
        model=bout.name,
        version=bout.challenger,
        flow_run_id=job,
        champion=bout.champion,
        lines=found.lines,
        hours=hours,
    )
    page = (found.folder / "decision.md").read_text(encoding="utf-8")
    # Another champion is another question: the word on one says nothing of the other.
    return suspend_flow_run(
        wait_for_input=Approval.with_initial_data(description=page),
        timeout=int(hours * 3600),
        key=f"approve-{bout.challenger}-against-{bout.champion or 'none'}",
    )


def run_and_show(settings: RetrainSettings) -> dict[str, Any]:
    """Run the flow in this process; print the gate's page, what came of it and both UIs.

    Exits with code 1, after the last lines of its log, when a training process failed.
    """
    use_terminal()
    end_on_signals()
    model = settings.recipe.model
    require_sources(settings.recipe.data)
    if model.backbone:
        given_backbone(model.backbone, model.trust_remote_code)
    try:
        result: Any = retrain(settings)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    show(result)
    return result
