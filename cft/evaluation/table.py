"""Evaluations side by side: a markdown table, a table for the terminal, and a verdict in words."""

from collections.abc import Mapping

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cft.errors import CftError
from cft.evaluation.figures import MAIN_METRIC, Evaluation, Figure, described, ordered

ABSENT = "–"
# What the verdict is about, in order of preference; it needs a metric that every model has.
_VERDICT_METRICS = (
    (MAIN_METRIC, "Cross-lingual MRR"),
    ("sts/spearman", "STS Spearman"),
    ("triplet/accuracy", "Triplet accuracy"),
)


def best_models(evaluations: Mapping[str, Evaluation], metric: str) -> set[str]:
    """Columns that hold the best value of a metric, as it is printed; empty where no way is better.

    A single column wins nothing, and neither do columns that are all equal.
    """
    _, better = described(metric)
    values = {
        column: round(one.figures[metric].value, 3)
        for column, one in evaluations.items()
        if metric in one.figures
    }
    if better is None or len(set(values.values())) < 2:
        return set()
    best = max(values.values()) if better == "higher" else min(values.values())
    return {column for column, value in values.items() if value == best}


def _names(evaluations: Mapping[str, Evaluation]) -> list[str]:
    if not evaluations:
        raise CftError("comparison table: no evaluations; evaluate a model first")
    return ordered({name for one in evaluations.values() for name in one.figures})


def _labelled(name: str) -> str:
    label, better = described(name)
    return f"{label} {({'higher': '↑', 'lower': '↓'}[better]) if better else ''}".rstrip()


def comparison_table(evaluations: Mapping[str, Evaluation]) -> str:
    """GitHub markdown: a row for each metric, a column for each key of ``evaluations``, in order.

    Cells are ``value [low, high]``; the best value of a row is bold; arrows say which way is
    better; a figure that a model lacks is a dash and never a zero.
    """
    columns = list(evaluations)
    lines = [
        "| metric | " + " | ".join(_markdown(column) for column in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name in _names(evaluations):
        best = best_models(evaluations, name)
        cells = []
        for column in columns:
            figure = evaluations[column].figures.get(name)
            if figure is None:
                cells.append(ABSENT)
            else:
                value = f"**{figure.value:z.3f}**" if column in best else f"{figure.value:z.3f}"
                cells.append(f"{value} [{figure.low:z.3f}, {figure.high:z.3f}]")
        lines.append(f"| {_markdown(_labelled(name))} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def rich_table(
    evaluations: Mapping[str, Evaluation], title: str = "", width: int | None = None
) -> Table:
    """The same table for the terminal: best in bold green, intervals dim, lines between sections.

    Cells are ``Text``, so that brackets and names are never taken for markup and wide or combining
    glyphs keep the columns straight. Where ``width`` columns (the width of the console that prints
    it; empty: no bound) cannot hold the intervals, they are left out whole and the caption says so:
    a figure cut in the middle reads as another figure.
    """
    table = _rich_table(evaluations, title, intervals=True)
    boundless = Console(width=10_000)
    needed = Measurement.get(boundless, boundless.options, table).maximum
    if width is not None and needed > width:
        table = _rich_table(evaluations, title, intervals=False)
        table.caption = Text(f"95% intervals need a terminal of {needed} columns")
        table.caption_justify = "left"
    return table


def _rich_table(evaluations: Mapping[str, Evaluation], title: str, intervals: bool) -> Table:
    table = Table(title=Text(title) if title else None, title_justify="left")
    table.add_column("metric", no_wrap=True)
    for column in evaluations:
        table.add_column(Text(column), justify="right", no_wrap=True)
    previous = None
    for name in _names(evaluations):
        section = name.partition("/")[0]
        if previous not in (None, section):
            table.add_section()
        previous = section
        best = best_models(evaluations, name)
        cells = []
        for column, one in evaluations.items():
            figure = one.figures.get(name)
            if figure is None:
                cells.append(Text(ABSENT, style="dim"))
                continue
            style = "bold green" if column in best else ""
            cell = Text(f"{figure.value:z.3f}", style=style)
            if intervals:
                cell.append(f" [{figure.low:z.3f}, {figure.high:z.3f}]", style="dim")
            cells.append(cell)
        table.add_row(Text(_labelled(name)), *cells)
    return table


def verdict(evaluations: Mapping[str, Evaluation]) -> str:
    """One paragraph: how the main metric moved from the first model to each later one.

    The first key is the baseline. The wording follows from the figures: direction, ratio (where
    the baseline is above zero) and whether the 95% intervals overlap.
    """
    if len(evaluations) < 2:
        raise CftError("verdict: fewer than two evaluations; evaluate another model to compare")
    (base, first), *others = evaluations.items()
    shared = [
        (metric, label)
        for metric, label in _VERDICT_METRICS
        if all(metric in one.figures for one in evaluations.values())
    ]
    if not shared:
        return (
            f"No verdict: {base} and the others share none of "
            f"{', '.join(label for _, label in _VERDICT_METRICS)}."
        )
    metric, label = shared[0]
    start = first.figures[metric]
    sentences = []
    for place, (column, one) in enumerate(others):
        figure = one.figures[metric]
        sentence = _moved(label, base, start, column, figure, opens=place == 0)
        if start.value > 0:
            sentence += f", {_times(figure.value / start.value)} {base}'s"
        overlap = "overlap" if figure.overlaps(start) else "do not overlap"
        sentences.append(f"{sentence}; the 95% intervals {overlap}.")
    return " ".join(sentences)


def _moved(label: str, base: str, start: Figure, column: str, end: Figure, opens: bool) -> str:
    if round(start.value, 3) == round(end.value, 3):
        here = f"{label} stayed: {start} ({base}) and" if opens else "It stayed at"
        return f"{here} {end} ({column})"
    verb = "rose" if end.value > start.value else "fell"
    here = f"{label} {verb} from {start} ({base})" if opens else f"From {base} it {verb}"
    return f"{here} to {end} ({column})"


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 20 else f"{ratio:.1f} times"


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
