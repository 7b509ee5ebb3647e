"""What retraining and promoting have in common: the gate, and the move of the champion."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cft.evaluation.gate import GateDecision
from cft.home import Home
from cft.recipe import EvalRecipe, GateRecipe
from cft.tracking.promotion import Promotion, champion_of
from tasks.gate import Bout, decision_of, publish_decision, run_gate
from tasks.registry import promote_version, record_verdict, registry_client
from tasks.steps import Steps
from tasks.suites import run_suite


@dataclass(frozen=True)
class Gated:
    """A decision and where it is written down.

    Attributes:
        bout: who met whom.
        decision: the gate's word.
        folder: where it lies.
        published: its report in MLflow, and the run that holds it.
    """

    bout: Bout
    decision: GateDecision
    folder: Path
    published: dict[str, str]

    @property
    def lines(self) -> list[str]:
        """The primary metrics and the floors, one a line."""
        shown = []
        for row in self.decision.rows:
            if row.check != "slice" and row.challenger is not None:
                before = "" if row.champion is None else f", champion {row.champion:.3f}"
                shown.append(f"{row.title} {row.challenger:.3f}{before}")
        return list(dict.fromkeys(shown))


def bout_of(
    home: Home,
    name: str,
    challenger: str,
    corpus: Path,
    gate: GateRecipe,
    evaluation: EvalRecipe,
    *,
    device: str,
    trust_remote_code: bool = False,
) -> Bout:
    """A challenger against whoever is champion now."""
    champion = champion_of(registry_client(home), name)
    return Bout(
        name,
        challenger,
        str(champion.version) if champion else None,
        str(corpus),
        gate,
        evaluation,
        device,
        trust_remote_code,
    )


def gated(home: Home, job: str, steps: Steps, bout: Bout, experiment: str) -> Gated:
    """Evaluate both on the same suites, decide, publish, and tell; each is done once for a job."""
    from tasks.notify import events

    folder = bout.folder(home.runs / job)
    evaluations: dict[str, dict[str, str]] = {}
    # The models are loaded for nothing where the decision stands already.
    for version in [] if folder.exists() else bout.versions:
        evaluations[version] = {
            question.suite: steps.do(
                f"{question.suite} of {version}",
                run_suite,
                question,
                bout.candidate(version),
                bout.evaluation,
            )
            for question in bout.questions
        }
    steps.reuse("gate", run_gate, folder, bout, evaluations)
    published = steps.do("publish gate", publish_decision, str(folder), job, experiment)
    found = Gated(bout, decision_of(folder), folder, published)
    tags = {
        "gate_verdict": found.decision.verdict,
        "gate_report": published["report"],
        "gate_champion": bout.champion or "",
        "gate_flow_run": job,
    }
    steps.do("record verdict", record_verdict, bout.name, bout.challenger, tags)
    about: dict[str, Any] = {
        "model": bout.name,
        "version": bout.challenger,
        "flow_run_id": job,
        "champion": bout.champion,
    }
    if found.decision.passed:
        events.gate_passed(**about, lines=found.lines)
    else:
        events.gate_refused(**about, reasons=found.decision.reasons)
    return found


def promoted(
    steps: Steps,
    job: str,
    name: str,
    version: str,
    *,
    verdict: Literal["passed", "first", "skipped"],
    reason: str,
    report: str,
    instead_of: str | None,
) -> Promotion:
    """Make a version champion and tell."""
    from tasks.notify import events

    move = steps.do(
        "promote", promote_version, name, version, job, verdict, reason, report, instead_of
    )
    events.champion_changed(
        model=name, version=version, flow_run_id=job, previous=move.previous, reason=move.reason
    )
    return move


def promoted_by_gate(steps: Steps, job: str, found: Gated, reason: str) -> Promotion:
    """Make a challenger that has passed champion, unless another one has become it since."""
    bout = found.bout
    return promoted(
        steps,
        job,
        bout.name,
        bout.challenger,
        verdict="first" if bout.champion is None else "passed",
        reason=reason,
        report=found.published["report"],
        instead_of=bout.champion,
    )
