"""What ``cft data inspect`` prints, made of plain figures."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cft.mining.dataset import Dataset
from cft.mining.hardness import KINDS_OF_TEXT
from cft.mining.lengths import Lengths
from cft.triplets.base import Triplets

_BAR = 40  # characters of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉"
_LONG_LIST = 12
_TITLED = {"source": "Sources", "sources": "Sources", "dropped": "Left out", "kinds": "Triplets"}
_COLUMNS = {
    "Sources": ("of", "file", "digest"),
    "Left out": ("of", "reason", "rows"),
    "Triplets": ("of", "kind", "rows"),
    "Settings": ("of", "setting", "value"),
    "Facts": ("of", "figure", "value"),
}


def warning(note: str) -> RenderableType:
    """What a reader must see before any figure."""
    return Text(f"Note: {note}", style="bold red")


def manifest_tables(dataset: Dataset) -> Iterator[RenderableType]:
    """One table for each kind of entry of the manifest; nothing but histograms is left out."""
    rows: dict[str, list[tuple[str, str, str]]] = {name: [] for name in _COLUMNS}
    for title, where, name, value in _entries(dataset.manifest, (), "Facts"):
        rows[title].append((where, name, _shown(value)))
    for title, found in rows.items():
        if not found:
            continue
        table = Table(title=title, title_justify="left", title_style="bold")
        for column in _COLUMNS[title]:
            numeric = column in ("rows", "value")
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in found:
            table.add_row(*map(Text, row))
        yield table


def _entries(
    node: dict[str, Any], path: tuple[str, ...], title: str
) -> Iterator[tuple[str, str, str, Any]]:
    """Leaves of the manifest: table, where, name, value."""
    for name, value in node.items():
        if name in ("histogram", "token_lengths"):
            continue
        if not isinstance(value, dict):
            yield title, ".".join(path), name, value
        elif name == "settings":
            yield from _entries(value, path, "Settings")
        elif name in _TITLED:
            yield from _entries(value, path, _TITLED[name])
        else:
            yield from _entries(value, (*path, name), title)


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, list):
        more = f", … ({len(value)} in all)" if len(value) > _LONG_LIST else ""
        return ", ".join(map(_shown, value[:_LONG_LIST])) + more
    return str(value)


def length_bars(lengths: Lengths) -> RenderableType:
    """Histograms as bars, with the summary of each role above its own."""
    parts: list[RenderableType] = []
    for role, one in lengths.summaries.items():
        parts.append(Text(f"\nLengths in {lengths.unit}, {role}: {lengths.counted}", style="bold"))
        names = ("min", "mean", "p50", "p95", "p99", "max")
        summary = "  ".join(f"{name} {one[name]}" for name in names)
        if lengths.unit == "tokens":
            summary += f"  cut at the maximum {one['at_max_length']:,}"
        parts.append(Text(summary))
        edges, counts = one["histogram"]["edges"], one["histogram"]["counts"]
        filled = [bin for bin, count in enumerate(counts) if count]
        most = max(counts)
        for bin in range(filled[0], filled[-1] + 1):
            low, high, count = edges[bin], edges[bin + 1], counts[bin]
            span = f"{low}" if high - low == 1 else f"{low}–{high - 1}"
            parts.append(Text(f"{span:>9} {_bar(count / most)} {count:,}"))
    return Group(*parts)


def _bar(share: float) -> str:
    eighths = max(round(share * _BAR * 8), 1 if share else 0)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def similarity_table(entry: dict[str, Any]) -> RenderableType:
    """Mean similarities of every part and kind, and what they say."""
    encoder = entry["encoder"]
    with_adapter = f" with adapter {encoder['adapter']}" if encoder["adapter"] else ""
    table = Table(
        title=f"Similarity of anchors, mean ± std (backbone {encoder['backbone']}{with_adapter}, "
        f"at most {entry['sample_rows']} rows of each stage)",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("rows of")
    for column in ("to positive", "to hard negative", "to random text", "hardness"):
        table.add_column(column, justify="right")
    verdicts = []
    for name, figures in entry["parts"].items():
        verdicts.append(f"{name}: {figures['verdict']}")
        table.add_row(name, *_cells(figures))
        for kind, one in figures["kinds"].items():
            table.add_row(f"  {kind}", *_cells(one))
    note = "hardness: 0 as near as the positives of other rows, 1 as near as the positive"
    return Group(table, Text(note, style="dim"), *map(Text, verdicts))


def _cells(figures: dict[str, Any]) -> list[str]:
    cells = [
        f"{one['mean']:.3f} ± {one['std']:.3f}" if (one := figures[name]) else "–"
        for name in KINDS_OF_TEXT
    ]
    hardness = figures["hardness"]
    return [*cells, "–" if hardness is None else f"{hardness:+.2f}"]


def samples(part: str, kind: str, triplets: Triplets) -> RenderableType:
    """Triplets in full."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for row in range(len(triplets)):
        named = [("anchor", triplets.anchor[row]), ("positive", triplets.positive[row])]
        named += [("negative", text) for text in triplets.negatives[row]]
        for name, text in named:
            grid.add_row(name, Text(text))
        grid.add_row("", "")
    return Group(Text(f"\n{part}, {kind}", style="bold"), grid)
