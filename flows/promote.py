"""Make a registered version champion, through the gate."""

import sys
from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from cft.errors import CftError
from cft.evaluation.gate import require_known
from cft.home import Home
from cft.tracking.promotion import ANYONE
from flows.console import end_on_signals, use_terminal
from flows.forms_registry import PromoteSettings
from flows.gating import bout_of, gated, promoted, promoted_by_gate
from flows.hooks import hooks
from flows.outcome import Ending, because, show
from tasks.gate import corpus_of
from tasks.registry import find_promotion, version_named
from tasks.steps import Steps


@flow(name="promote", flow_run_name="{settings.model_name} {settings.version}", **hooks())
def promote(
    settings: PromoteSettings = PromoteSettings(),  # noqa: B008 (shown in the form)
) -> State[dict[str, Any]]:
    """Hold a version to the gate and, when it passes, make it champion.

    Args:
        settings: which version, why, and what it must show.

    Returns:
        What came of it: `promoted` or `refused`, in one sentence as the state's message, with
        references in `result.json`.
    """
    home, job, steps = Home.from_environment(), str(flow_run.id), Steps()
    name = settings.model_name
    ending = Ending(home, job, steps, name)
    require_known(settings.gate)
    found = version_named(home, name, settings.version)
    move = steps.do("find promotion", find_promotion, name, job)
    if move is not None:
        ending.note(version=move.version)
        ending.note_move(move)
        return ending.end("promoted", f"promoted: version {move.version} is champion")
    version = str(found.version)
    ending.note(version=version)
    reason = settings.reason or "promoted by a person"
    if settings.skip_gate:
        move = promoted(
            steps,
            job,
            name,
            version,
            verdict="skipped",
            reason=reason,
            report="",
            instead_of=ANYONE,
        )
    else:
        bout = bout_of(
            home,
            name,
            version,
            corpus_of(home, found),
            settings.gate,
            settings.evaluation,
            device=settings.device,
            trust_remote_code=settings.trust_remote_code,
        )
        if bout.champion == version:
            raise CftError(f"{name}/{version}: is champion already; nothing to promote")
        ending.note(champion=bout.champion)
        result = gated(home, job, steps, bout, settings.experiment)
        ending.note_gate(result)
        if not result.decision.passed:
            return ending.end("refused", f"refused: {because(result.decision.reasons)}")
        move = promoted_by_gate(steps, job, result, reason)
    ending.note_move(move)
    return ending.end(
        "promoted", f"promoted: version {version} is champion, was {move.previous or 'nobody'}"
    )


def run_and_show(settings: PromoteSettings) -> dict[str, Any]:
    """Run the flow in this process and print what came of it; exits with code 1 when refused."""
    use_terminal()
    end_on_signals()
    result: Any = promote(settings)
    show(result)
    if result["outcome"] == "refused":
        sys.exit(1)
    return result
