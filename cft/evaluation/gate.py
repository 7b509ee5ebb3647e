"""The gate: whether a challenger may replace the champion, and every reason why not.

A challenger passes that trained on no text it is judged by, reaches every floor, is worse than
the champion on no primary metric and in no slice, and is better on one primary metric. Worse
means that the whole paired 95% interval of the difference lies below the tolerated loss. Better
means that the interval lies above the required improvement and that p, corrected by Holm's method
over the primary metrics of all suites, is at most 5%. Items that the champion trained on are
left out of the comparison: they would flatter it.

Where there is no champion the floors decide, and the verdict is ``first``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cft.errors import CftError
from cft.evaluation.figures import described
from cft.evaluation.gate_checks import WAYS, GateRow, Unseen, floor_row, primary_rows, slice_row
from cft.evaluation.result import SuiteResult
from cft.evaluation.significance import Difference
from cft.recipe import GateRecipe, Settings

Verdict = Literal["first", "passed", "refused"]


@dataclass(frozen=True)
class Entrant:
    """One of the two models before the gate.

    Attributes:
        name: ``NAME/VERSION`` in the registry.
        results: its results by suite.
        seen: ids of the texts of each suite that stand in its training rows.
        objections: of a challenger, why it may not become champion whatever its figures are.
        notes: of a champion, what a reader of the comparison should know.
    """

    name: str
    results: Mapping[str, SuiteResult]
    seen: Mapping[str, np.ndarray] = field(default_factory=dict)
    objections: Sequence[str] = ()
    notes: Sequence[str] = ()


class GateDecision(Settings):
    """The verdict with all that led to it."""

    verdict: Verdict
    challenger: str
    champion: str | None
    reasons: list[str]
    notes: list[str]
    rows: list[GateRow]
    settings: GateRecipe

    @property
    def passed(self) -> bool:
        """Whether the challenger may become champion."""
        return self.verdict != "refused"


def decide(gate: GateRecipe, challenger: Entrant, champion: Entrant | None) -> GateDecision:
    """Hold a challenger against the floors and, where there is one, against the champion.

    Raises:
        CftError: a suite of the gate has no result, or the two were not evaluated on the same
            items.
    """
    require_known(gate)
    for one in (challenger, champion):
        _require_results(gate, one)
    reasons = [*challenger.objections, *_contaminations(gate, challenger)]
    notes: list[str] = []
    rows = [floor_row(floor, challenger.results[floor.suite]) for floor in gate.floors]
    if champion is not None:
        notes += champion.notes
        unseen: dict[str, Unseen] = {
            suite: _unseen(suite, challenger, champion, notes) for suite in gate.suites
        }
        differences: dict[str, Mapping[str, Difference]] = {
            suite: both.differences(gate) for suite, both in unseen.items()
        }
        primary = primary_rows(gate, unseen, differences)
        rows += primary
        rows += [
            slice_row(rule, gate, unseen[rule.suite], differences[rule.suite])
            for rule in gate.slices
        ]
        if not any(row.better for row in primary):
            reasons.append(
                "better than the champion on no primary metric: no gain is distinguishable from "
                f"{gate.required_improvement:.3f}"
            )
    reasons += [f"{row.title}: {row.why}" for row in rows if not row.ok]
    verdict: Verdict = "first" if champion is None else "passed"
    return GateDecision(
        verdict="refused" if reasons else verdict,
        challenger=challenger.name,
        champion=champion.name if champion else None,
        reasons=reasons,
        notes=notes,
        rows=rows,
        settings=gate,
    )


def require_known(gate: GateRecipe) -> None:
    """Refuse settings that no challenger could meet, before anything is trained for them.

    Raises:
        CftError: naming the setting and what to write instead.
    """
    for place, floor in enumerate(gate.floors):
        if described(floor.metric)[1] != "higher":
            raise CftError(
                f"gate.floors[{place}].metric: {floor.metric} is no figure of which more is "
                "better; name one as in the tables, such as mean/mrr or triplet/accuracy"
            )
    for name in ("floors", "slices"):
        for place, one in enumerate(getattr(gate, name)):
            if one.suite not in gate.suites:
                raise CftError(
                    f"gate.{name}[{place}].suite: {one.suite} is not among gate.suites "
                    f"({', '.join(gate.suites)}); add it there, or leave this one out"
                )
    for place, rule in enumerate(gate.slices):
        if rule.slice not in WAYS and rule.suite != "trika":
            raise CftError(
                f"gate.slices[{place}]: {rule.slice} is a text of the Trika suite; give suite trika"
            )


def _require_results(gate: GateRecipe, one: Entrant | None) -> None:
    missing = [suite for suite in gate.suites if one and suite not in one.results]
    if one and missing:
        raise CftError(f"{one.name}: not evaluated on {', '.join(missing)}; evaluate it first")


def _contaminations(gate: GateRecipe, one: Entrant) -> Iterator[str]:
    for suite in gate.suites:
        seen = len(one.seen.get(suite, ()))
        if seen or one.results[suite].contaminated:
            count = f"{seen} texts" if seen else "texts"
            yield f"contaminated: it was trained on {count} of the suite {suite}"


def _unseen(suite: str, challenger: Entrant, champion: Entrant, notes: list[str]) -> Unseen:
    ids = np.asarray(champion.seen.get(suite, ()), dtype=np.int64)
    if len(ids):
        notes.append(
            f"The champion was trained on {len(ids)} texts of the suite {suite}; items with them "
            "are left out of the comparison."
        )
    return Unseen.of(challenger.results[suite], champion.results[suite], ids)
