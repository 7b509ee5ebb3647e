"""How a flow of the registry ends: one sentence as its state, the same and more in a file."""

import time
from pathlib import Path
from typing import Any

from prefect import State
from prefect.states import Completed

from cft.files import write_json
from cft.home import Home
from cft.tracking.promotion import Promotion
from flows.gating import Gated
from flows.summary import console_of, mlflow_lines, prefect_lines, step_lines
from tasks.steps import Steps

SHOWN_REASONS = 3  # in a state's message; the report has them all


class Ending:
    """Collects what a flow found and ends it."""

    def __init__(self, home: Home, job: str, steps: Steps, model: str) -> None:
        self.started = time.perf_counter()
        self.here, self.steps = home.runs / job, steps
        self.result: dict[str, Any] = {
            "flow_run_id": job,
            "model": model,
            "version": None,
            "champion": None,
            "run_directory": str(self.here),
        }

    def note(self, **values: Any) -> None:
        """Keep values for the result."""
        self.result |= values

    def note_gate(self, found: Gated) -> None:
        """Keep what the gate said."""
        self.result |= {
            "verdict": found.decision.verdict,
            "reasons": found.decision.reasons,
            "decision": str(found.folder),
            **found.published,
        }

    def note_move(self, move: Promotion) -> None:
        """Keep who is champion now."""
        self.result |= {"champion": move.version, "previous": move.previous}
        if move.report:
            self.result["report"] = move.report

    def end(self, outcome: str, message: str) -> State[dict[str, Any]]:
        """Completed, with the sentence as its message; the result in ``result.json`` as well."""
        self.result |= {
            "outcome": outcome,
            "message": message,
            "steps": self.steps.to_json(),
            "reused": self.steps.reused,
            "seconds": round(time.perf_counter() - self.started, 1),
        }
        write_json(self.here / "result.json", self.result)
        return Completed(message=message, data=self.result)


def because(reasons: list[str]) -> str:
    """Reasons as part of a sentence."""
    more = len(reasons) - SHOWN_REASONS
    return "; ".join(reasons[:SHOWN_REASONS]) + (f"; and {more} more" if more > 0 else "")


def show(result: dict[str, Any]) -> None:
    """Print what was decided, the gate's page, the steps and how to see the run."""
    lines = [result["message"], ""]
    if result.get("decision"):
        page = Path(result["decision"]) / "decision.md"
        lines = [page.read_text(encoding="utf-8"), *lines]
    home = Home.from_environment()
    lines += [*step_lines(result), "", *prefect_lines(result, home)]
    if result.get("mlflow_run_id"):
        lines += mlflow_lines(result, home)
    console = console_of()
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
