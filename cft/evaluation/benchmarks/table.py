"""The summary of a benchmark: markdown for files and artifacts, a table for the terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from cft.evaluation.benchmarks.result import BenchmarkResult, TaskRow
from cft.evaluation.benchmarks.tasks import REPORTED
from cft.evaluation.table import ABSENT

_COLUMNS = 4  # scores that a terminal holds beside each other


def benchmark_table(result: BenchmarkResult) -> str:
    """GitHub markdown: a row a task with its scores, the mean, and why tasks were not run.

    A score that a task does not have is a dash and never a zero. The mean says of how many tasks.
    """
    names = _score_names(result.rows)
    lines = [
        "| task | subset | split | " + " | ".join(names) + " | state |",
        "|---|---|---|" + "---:|" * len(names) + "---|",
    ]
    for row in result.rows:
        cells = [_cell(row, name) for name in names]
        subset, split = _where(row)
        lines.append(
            f"| {row.task} | {subset} | {split} | " + " | ".join(cells) + " | " + row.state
        )
        lines[-1] += " |"
    lines += ["", _mean_line(result)]
    absent = [row for row in result.rows if row.state == "not run"]
    if absent:
        lines += ["", "Not run:", ""]
        lines += [f"- {row.task}: {row.reason}" for row in absent]
    return "\n".join(lines) + "\n"


def benchmark_rich_table(result: BenchmarkResult) -> Table:
    """The same for the terminal; reasons are the caption, so that they are never cut.

    Where tasks of several types would need many columns, each row names its scores.
    """
    names = _score_names(result.rows)
    table = Table(title=Text(f"{result.benchmark}: {result.model}"), title_justify="left")
    table.add_column("task", no_wrap=True)
    table.add_column("subset", min_width=10)
    table.add_column("split", no_wrap=True)
    few = len(names) <= _COLUMNS
    for name in names if few else ("main score", "other scores"):
        table.add_column(name, justify="right" if few else "left", no_wrap=few)
    table.add_column("state", no_wrap=True)
    for row in result.rows:
        cells = [_cell(row, name) for name in names] if few else _named_scores(row)
        style = "dim" if row.state == "not run" else ""
        table.add_row(
            *(Text(cell) for cell in (row.task, *_where(row), *cells, row.state)), style=style
        )
    absent = [f"{row.task}: {row.reason}" for row in result.rows if row.state == "not run"]
    table.caption = Text("\n".join([_mean_line(result), *absent]), style="")
    table.caption_justify = "left"
    return table


def _named_scores(row: TaskRow) -> tuple[str, str]:
    others = [f"{name} {_cell(row, name)}" for name in row.scores if name != row.main_score]
    return f"{row.main_score} {_cell(row, row.main_score)}", ", ".join(others)


def _score_names(rows: Sequence[TaskRow]) -> list[str]:
    """Main scores first, then what else the types of these tasks report."""
    mains = [row.main_score for row in rows]
    others = [name for row in rows for name in REPORTED.get(row.kind, ())]
    return list(dict.fromkeys([*mains, *others]))


def _cell(row: TaskRow, name: str) -> str:
    value = row.scores.get(name)
    return ABSENT if value is None else f"{value:z.4f}"


def _where(row: TaskRow) -> tuple[str, str]:
    subsets = [one for one in row.subsets if one != "default"]
    shown = ", ".join(subsets[:3]) + (f" and {len(subsets) - 3} more" if len(subsets) > 3 else "")
    return shown, ", ".join(row.splits)


def _mean_line(result: BenchmarkResult) -> str:
    scored = sum(row.value is not None for row in result.rows)
    if result.mean is None:
        return f"None of the {len(result.rows)} tasks has a score."
    whole = "all" if result.complete else "only"
    return f"Mean of the main scores: {result.mean:.4f}, over {whole} {scored} " + (
        "tasks." if result.complete else f"of {len(result.rows)} tasks."
    )
