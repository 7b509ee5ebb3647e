"""One HTML page for one suite: verdict, figures, pictures, failures, neighbours, the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cft.errors import CftError
from cft.evaluation.figures import PRIMARY, described, ordered
from cft.evaluation.report.draw import draw_suite
from cft.evaluation.report.failures import failure_sections
from cft.evaluation.report.html import Safe, element, joined, page, picture, section, table
from cft.evaluation.report.markdown import duration
from cft.evaluation.report.pairs import pair_sections
from cft.evaluation.report.texts import ReportText
from cft.evaluation.result import SuiteResult
from cft.evaluation.significance import Difference
from cft.evaluation.table import ABSENT, best_models, verdict
from cft.files import write_atomic

_TITLES = {
    "trika": "Trika",
    "sanskrit-sts": "Sanskrit similarity",
    "held-out": "Held-out verses",
}
_COUNTED = {
    "pairs": "verse pairs",
    "sts": "graded pairs",
    "triplets": "triplets",
    "texts": "distinct texts",
}
_ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


def write_report(
    results: Mapping[str, SuiteResult],
    texts: Mapping[int, ReportText],
    folder: Path,
    *,
    differences: Mapping[str, Mapping[str, Difference]] | None = None,
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Draw the plots into ``folder`` and write ``report.html``, which holds all of them itself.

    Args:
        results: evaluations of one suite by title of their column, the baseline first.
        texts: the suite's texts by id (see :func:`cft.evaluation.report.texts.report_texts`);
            empty for a suite whose texts are not at hand.
        folder: where ``report.html`` and ``plots/`` go.
        differences: title -> metric -> paired difference from the baseline.
        facts: further lines about the run, such as where the model is registered.
        notes: what a reader must not miss.

    Returns:
        The path of the page.

    Raises:
        CftError: there is nothing to report on.
    """
    if not results:
        raise CftError(f"{folder}: no evaluations; evaluate a model first")
    plots = draw_suite(results, texts, folder / "plots")
    path = folder / "report.html"
    content = report_page(
        results, texts, plots, differences=differences or {}, facts=facts or {}, notes=notes
    )
    write_atomic(path, content)
    return path


def report_page(
    results: Mapping[str, SuiteResult],
    texts: Mapping[int, ReportText],
    plots: Sequence[tuple[Path, str]],
    *,
    differences: Mapping[str, Mapping[str, Difference]],
    facts: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    """The page as text; its parts are left out where there is nothing to show."""
    evaluations = {name: one.evaluation for name, one in results.items()}
    first = next(iter(results.values()))
    title = f"{_TITLES.get(first.suite, first.suite)}: " + (
        f"how good {next(iter(results))} is" if len(results) == 1 else "how the models compare"
    )
    parts: list[tuple[str, str, Safe]] = [
        ("figures", "Figures", _figures(results)),
    ]
    if differences:
        parts.append(("differences", "Differences", _differences(next(iter(results)), differences)))
    if plots:
        pictures = joined((picture(path, caption) for path, caption in plots), "\n")
        parts.append(("plots", "Plots", pictures))
    parts += failure_sections(results, texts)
    parts += pair_sections(results)
    parts.append(("run", "The run", _run(results, facts)))
    links = (element("a", heading, href=f"#{anchor}") for anchor, heading, _ in parts)
    return page(
        title,
        element("h1", title),
        element("p", _measured(first), klass="faint"),
        *(element("div", note, klass="note") for note in [*_contaminated(results), *notes]),
        element("p", verdict(evaluations), klass="lead") if len(results) > 1 else "",
        element("nav", joined(links, " ")),
        *(section(heading, content, anchor=anchor) for anchor, heading, content in parts),
    )


def _measured(result: SuiteResult) -> str:
    counts = result.evaluation.counts
    parts = [f"{counts[key]} {label}" for key, label in _COUNTED.items() if counts.get(key)]
    parts += [
        f"{value} {key.replace('_', ' ')}" for key, value in counts.items() if key not in _COUNTED
    ]
    where = f"Evaluation set {result.evaluation.evalset}: " if result.evaluation.evalset else ""
    return f"{where}{', '.join(parts)}. Every figure with its 95% bootstrap interval."


def _contaminated(results: Mapping[str, SuiteResult]) -> list[str]:
    named = [name for name, one in results.items() if one.contaminated]
    if not named:
        return []
    verb = "was" if len(named) == 1 else "were"
    return [
        f"Contaminated: {', '.join(named)} {verb} trained on texts of this suite. "
        "These figures flatter and must not be compared with those of other models."
    ]


def _figures(results: Mapping[str, SuiteResult]) -> Safe:
    evaluations = {name: one.evaluation for name, one in results.items()}
    names = ordered({name for one in evaluations.values() for name in one.figures})
    rows = []
    for name in names:
        label, better = described(name)
        best = best_models(evaluations, name)
        cells: list[object] = [label + _ARROWS[better]]
        for column, one in evaluations.items():
            figure = one.figures.get(name)
            if figure is None:
                cells.append(ABSENT)
                continue
            value = f"{figure.value:z.3f}"
            interval = element("span", f" [{figure.low:z.3f}, {figure.high:z.3f}]", klass="i")
            cells.append(joined([element("b", value) if column in best else value, interval]))
        rows.append(cells)
    legend = (
        "↑ higher is better, ↓ lower is better; the best value of a row is bold and green; "
        f"{ABSENT} is not measured, never zero."
    )
    head = ["metric", *results]
    return joined(
        [
            table(head, rows, numbers=range(1, len(head))),
            element("p", legend, klass="faint"),
        ]
    )


def _differences(base: str, differences: Mapping[str, Mapping[str, Difference]]) -> Safe:
    names = ordered({name for found in differences.values() for name in found})
    rows = []
    for name in names:
        label, better = described(name)
        cells: list[object] = [label + _ARROWS[better]]
        for found in differences.values():
            one = found.get(name)
            if one is None:
                cells.append(ABSENT)
                continue
            word = one.verdict(better)
            interval = element("span", f" [{one.low:+z.3f}, {one.high:+z.3f}]", klass="i")
            said = element("b", word) if word == "better" else word
            if word == "not distinguishable":
                said = element("span", word, klass="i")
            p = one.p if one.p_adjusted is None else one.p_adjusted
            tested = "" if p is None else element("span", f" p {p:.3f}", klass="i")
            cells.append(joined([f"{one.value:+z.3f}", interval, tested, " ", said]))
        rows.append(cells)
    head = ["metric", *(f"{name} − {base}" for name in differences)]
    main = ", ".join(described(name)[0] for name in PRIMARY if name in names)
    why = (
        f"Each model minus {base} on the same items: paired bootstrap interval, and p of the "
        "paired permutation test. A difference whose interval holds zero, or whose p is above "
        f"0.05, is not distinguishable. Of the metrics that decide ({main}) p is corrected for "
        "their number by Holm's method."
    )
    return joined(
        [element("p", why, klass="faint"), table(head, rows, numbers=range(1, len(head)))]
    )


def _run(results: Mapping[str, SuiteResult], facts: Mapping[str, str]) -> Safe:
    rows = [
        (
            name,
            one.model,
            one.revision or ABSENT,
            _dimension(one),
            "yes" if one.contaminated else "not known to be",
            duration(one.evaluation.seconds),
        )
        for name, one in results.items()
    ]
    head = ("column", "model", "weights", "dimension", "trained on these texts", "time")
    lines = joined(element("tr", element("th", key), element("td", facts[key])) for key in facts)
    return joined([table(head, rows, numbers=(3, 5)), element("table", lines) if facts else ""])


def _dimension(result: SuiteResult) -> str:
    vector_ND: np.ndarray | None = result.items.get("texts/vector")
    return str(vector_ND.shape[1]) if vector_ND is not None and vector_ND.ndim == 2 else ABSENT
