"""The comparison as tables, a row a model, and as flat metrics."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from cft.evaluation.benchmarks.baselines import BaselineRow, scored
from cft.evaluation.table import ABSENT, comparison_table

# The columns that models are compared by at a glance; the second table has every figure.
COLUMNS = {
    "mean/mrr": "MRR",
    "mean/recall_at_1": "R@1",
    "mean/recall_at_3": "R@3",
    "mean/recall_at_5": "R@5",
    "sts/spearman": "Spearman",
    "sts/pearson": "Pearson",
    "triplet/accuracy": "Triplets",
    "triplet/margin": "Margin",
    "anisotropy/mean": "Cosine",
    "anisotropy/std": "± std",
    "uniformity": "Uniformity",
}


def baseline_table(rows: Sequence[BaselineRow]) -> str:
    """GitHub markdown: a row a model, then every figure with its interval, then the prompts.

    A model without figures has a row of dashes that ends in the reason.
    """
    labels = list(COLUMNS.values())
    lines = [
        "| model | " + " | ".join(labels) + " | note |",
        "|---|" + "---:|" * len(labels) + "---|",
    ]
    for row in rows:
        cells = " | ".join(_cell(row, name) for name in COLUMNS)
        lines.append(f"| {_plain(row.title)} | {cells} | {_plain(row.note)} |")
    if evaluations := scored(rows):
        lines += ["", "With 95% bootstrap intervals:", "", comparison_table(evaluations).rstrip()]
    lines += ["", "| model | loaded from | query prompt | document prompt |", "|---|---|---|---|"]
    for row in rows:
        prompts = " | ".join(_prompt(one) for one in (row.query_prompt, row.document_prompt))
        lines.append(f"| {_plain(row.title)} | {_plain(row.model) or ABSENT} | {prompts} |")
    return "\n".join(lines) + "\n"


def baseline_rich_table(rows: Sequence[BaselineRow]) -> Table:
    """The first of these for the terminal; reasons are the caption, so that they are never cut."""
    table = Table(title=Text("Baselines"), title_justify="left")
    table.add_column("model", no_wrap=True)
    for label in COLUMNS.values():
        table.add_column(label, justify="right", no_wrap=True)
    for row in rows:
        style = "" if row.evaluation else "dim"
        table.add_row(Text(row.title), *(Text(_cell(row, name)) for name in COLUMNS), style=style)
    notes = [
        f"{row.title}: {row.note}" if row.evaluation else f"{row.title}: not run: {row.note}"
        for row in rows
        if row.note
    ]
    if notes:
        table.caption = Text("\n".join(notes))
        table.caption_justify = "left"
    return table


def baseline_metrics(rows: Sequence[BaselineRow]) -> dict[str, float]:
    """Flat metrics for a tracker: ``baselines/<key>/<metric>`` with ``_low`` and ``_high``."""
    return {
        f"baselines/{row.key}/{name}": value
        for row in rows
        if row.evaluation is not None
        for name, value in row.evaluation.metrics().items()
    }


def _cell(row: BaselineRow, name: str) -> str:
    figure = row.evaluation.figures.get(name) if row.evaluation else None
    return ABSENT if figure is None else f"{figure.value:z.3f}"


def _prompt(prompt: str | None) -> str:
    return ABSENT if prompt is None else f"`{prompt}`" if prompt else "none"


def _plain(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
