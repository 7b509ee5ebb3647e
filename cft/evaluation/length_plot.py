"""Histogram of text lengths as a PNG file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from cft.errors import CftError
from cft.evaluation.plots import BLUE, ORANGE, save_figure, styled


def length_plot(
    edges: Sequence[int], histograms: Mapping[str, Sequence[int]], unit: str, path: Path
) -> Path:
    """Draw one histogram for each role of a text, all over the same bins.

    Args:
        edges: bin n counts lengths from ``edges[n]`` up to, not including, ``edges[n + 1]``.
        histograms: name -> counts, one fewer than edges.
        unit: what lengths are counted in, such as ``tokens``.
        path: PNG file to write, atomically.

    Raises:
        CftError: there is no text to draw.
    """
    known = {name: counts for name, counts in histograms.items() if sum(counts)}
    if not known:
        raise CftError(f"{path}: no lengths to draw; the data holds no texts")
    with styled():
        figure = Figure(figsize=(9, 4.6), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        for (name, counts), colour in zip(known.items(), (BLUE, ORANGE), strict=False):
            axes.stairs(counts, edges, fill=True, alpha=0.35, color=colour)
            axes.stairs(counts, edges, color=colour, linewidth=1.6, label=name)
        last = max(bin for counts in known.values() for bin, count in enumerate(counts) if count)
        axes.set_xlim(edges[0], edges[last + 1])
        axes.set_xlabel(f"length of a text ({unit})")
        axes.set_ylabel("distinct texts")
        axes.set_title("How long the texts are", loc="left")
        axes.grid(axis="y")
        if len(known) > 1:
            axes.legend()
        return save_figure(figure, path)
