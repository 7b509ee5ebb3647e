"""The gate's decision as markdown: verdict, reasons, and a row for each check."""

from collections.abc import Mapping

from cft.evaluation.figures import described
from cft.evaluation.gate import GateDecision
from cft.evaluation.gate_checks import GateRow

_VERDICTS = {
    "first": "**Passed.** There was no champion; every floor is reached.",
    "passed": "**Passed.** Not worse than the champion anywhere, and better on a primary metric.",
    "refused": "**Refused.**",
}
_COLUMNS = ("Check", "Suite", "Metric", "Challenger", "Champion", "Difference [95%]", "p", "Limit")


def gate_page(decision: GateDecision, facts: Mapping[str, str] | None = None) -> str:
    """Markdown of a decision; ``facts`` are lines about the run."""
    against = f"champion {decision.champion}" if decision.champion else "no champion"
    lines = [
        f"# Gate: {decision.challenger} against {against}",
        "",
        _VERDICTS[decision.verdict],
        "",
        *[f"- {reason}" for reason in decision.reasons],
        *([""] if decision.reasons else []),
        *[line for note in decision.notes for line in (f"> **Note.** {note}", "")],
        f"| {' | '.join((*_COLUMNS, 'Outcome'))} |",
        f"|{' --- |' * 3}{' ---: |' * 5} --- |",
        *map(_row, decision.rows),
        "",
        f"Paired bootstrap of {decision.settings.bootstrap_samples} resamples, seed "
        f"{decision.settings.seed}; p of the primary metrics corrected by Holm's method.",
        "",
        *[f"- {name}: {value}" for name, value in (facts or {}).items()],
    ]
    return "\n".join(lines).rstrip() + "\n"


def _row(row: GateRow) -> str:
    label = described(row.metric)[0]
    metric = f"{label}, {row.slice.replace('_', ' ')}" if row.slice else label
    change = "–"
    if row.difference is not None and row.low is not None and row.high is not None:
        change = f"{row.difference:+.3f} [{row.low:.3f}, {row.high:.3f}]"
    limit = f"≥ {row.limit:.3f}" if row.check == "floor" else f"≥ {row.limit:+z.3f}"
    outcome = ("better" if row.better else "ok") if row.ok else "**refused**"
    cells = [row.check, row.suite, metric, _value(row.challenger), _value(row.champion)]
    return f"| {' | '.join([*cells, change, _value(row.p), limit, outcome])} |"


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:z.3f}"
