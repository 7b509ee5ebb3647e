"""The report of a run as markdown: for the orchestrator's artifact and the tracker alike."""

from collections.abc import Mapping, Sequence

from cft.evaluation.figures import Evaluation
from cft.evaluation.table import comparison_table, verdict


def duration(seconds: float) -> str:
    """``0.4 s``, ``42 s``, ``3 min 07 s``, ``2 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def run_report(
    *,
    recipe: str,
    evaluations: Mapping[str, Evaluation],
    seconds: float,
    steps: Mapping[str, float] | None = None,
    reused: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Markdown with heading, verdict, table, counts, durations and what was reused.

    Args:
        recipe: name of the recipe.
        evaluations: by column title, the baseline first.
        seconds: duration of the whole run.
        steps: step name -> seconds, for the steps that ran.
        reused: names of the steps whose result came from an earlier run.
        facts: further lines, e.g. run id, data digest, registered version.
        notes: warnings that a reader must see, e.g. that the run is contaminated.
    """
    first = next(iter(evaluations.values()), None)
    lines = [f"# Recipe {recipe}: how the models compare", ""]
    for note in notes:
        lines += [f"> **Note.** {note}", ""]
    if len(evaluations) > 1:
        lines += [verdict(evaluations), ""]
    lines += [comparison_table(evaluations)]
    lines += [
        "Values with 95% bootstrap intervals; cross-lingual is the mean of both directions; "
        "arrows say whether higher or lower is better, best values are bold, "
        f"and – means not measured.{_items(first)}",
        "",
        "## The run",
        "",
        f"- Duration: {duration(seconds)}",
    ]
    for name, one in (steps or {}).items():
        lines.append(f"    - {name}: {duration(one)}")
    lines.append(f"- Reused from an earlier run: {', '.join(reused) if reused else 'nothing'}")
    lines += [f"- {name}: {value}" for name, value in (facts or {}).items()]
    return "\n".join(lines) + "\n"


def suite_report(
    title: str,
    evaluations: Mapping[str, Evaluation],
    *,
    absent: Mapping[str, str] | None = None,
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Markdown of one suite: verdict, table, items, who is missing and why, where the rest lies.

    Args:
        title: heading.
        evaluations: by column title, the baseline first.
        absent: models that could not be evaluated, and why.
        facts: further lines, such as where the page with the plots is.
        notes: what a reader must see before any figure.
    """
    flattered = [name for name, one in evaluations.items() if one.contaminated]
    if flattered:
        said = f"{', '.join(flattered)}: trained on texts of this suite; the figures flatter."
        notes = [said, *notes]
    lines = [f"# {title}", ""]
    for note in notes:
        lines += [f"> **Note.** {note}", ""]
    if len(evaluations) > 1:
        lines += [verdict(evaluations), ""]
    if evaluations:
        lines += [comparison_table(evaluations)]
        first = next(iter(evaluations.values()))
        lines += [f"Values with 95% bootstrap intervals.{_items(first)}", ""]
    lines += [f"- {name} was not evaluated: {why}" for name, why in (absent or {}).items()]
    lines += [f"- {name}: {value}" for name, value in (facts or {}).items()]
    return "\n".join(lines) + "\n"


def _items(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return ""
    names = {
        "pairs": "held-out verse pairs",
        "sts": "graded pairs",
        "triplets": "triplets",
        "texts": "distinct texts",
    }
    parts = [f"{evaluation.counts.get(key, 0)} {label}" for key, label in names.items()]
    name = f" on {evaluation.evalset}" if evaluation.evalset else ""
    return f" Measured{name}: {', '.join(parts[:-1])} and {parts[-1]}."
