"""Plots as PNG files: loss curves, similarity histograms, the cross-lingual heat map.

Drawn with matplotlib's Figure and the Agg canvas, without pyplot, so that no display and no
current figure is needed. Colours are those of Okabe & Ito, which colour-blind readers can tell
apart.
"""

import contextlib
import io
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cft.errors import CftError
from cft.evaluation.result import Similarities
from cft.files import write_atomic

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
STAGE_COLOURS = (BLUE, VERMILION, GREEN, ORANGE)
INK, FAINT = "#333333", "#DDDDDD"
_DRAWING = threading.Lock()
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "legend.frameon": False,
}


@contextlib.contextmanager
def styled(extra: dict[Any, Any] | None = None) -> Iterator[None]:
    """The project's style while a block draws, for one thread at a time."""
    # matplotlib's settings belong to the process: two threads must not restore each other's.
    with _DRAWING, mpl.rc_context({**_STYLE, **(extra or {})}):
        yield


def losses(
    events: Iterable[Mapping[str, Any]], name: str = "train/loss"
) -> list[tuple[int, float]]:
    """``(step, loss)`` of the metric lines of an event log, by step; a repeated step counts last.

    A resumed run logs the steps since its checkpoint again.
    """
    by_step = {
        int(event["step"]): float(event["values"][name])
        for event in events
        if event.get("kind") == "metric" and name in event.get("values", {})
    }
    return sorted(by_step.items())


def smoothed(value_N: np.ndarray, window: int) -> np.ndarray:
    """Centred moving average, ``[N]``; at the ends over the part of the window that exists."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(value_N, dtype=np.float64))])
    place_N = np.arange(len(value_N))
    start_N = np.maximum(place_N - window // 2, 0)
    stop_N = np.minimum(place_N + window // 2 + 1, len(value_N))
    return (total[stop_N] - total[start_N]) / (stop_N - start_N)


def loss_curve(stages: Mapping[str, Sequence[tuple[int, float]]], path: Path) -> Path:
    """Loss of every stage over one axis of optimiser steps, a line at each stage border.

    Args:
        stages: title -> ``(step, loss)`` by step (see :func:`losses`); steps start anew in
            each stage and are drawn one after the other.

    Raises:
        CftError: no stage has a loss.
    """
    known = {title: points for title, points in stages.items() if points}
    if not known:
        raise CftError(f"{path}: no loss was logged; train for at least logging_steps steps")
    with styled():
        figure = Figure(figsize=(9, 4.6), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        offset, top = 0, []
        for place, (title, points) in enumerate(known.items()):
            step_N = np.array([step for step, _ in points]) + offset
            loss_N = np.array([loss for _, loss in points])
            colour = STAGE_COLOURS[place % len(STAGE_COLOURS)]
            axes.plot(step_N, loss_N, color=colour, alpha=0.28, linewidth=1)
            average = smoothed(loss_N, max(3, len(loss_N) // 15))
            label = f"{title}: {loss_N[0]:.2f} → {average[-1]:.2f}"
            axes.plot(step_N, average, color=colour, linewidth=2.4, label=label)
            if place:
                axes.axvline(offset, color=INK, linewidth=1, linestyle=(0, (4, 3)))
                axes.annotate(
                    f"{title} starts",
                    (offset, 1.0),
                    xycoords=("data", "axes fraction"),
                    xytext=(5, -4),
                    textcoords="offset points",
                    va="top",
                    fontsize=10,
                )
            offset = int(step_N[-1])
            top.append(loss_N.max())
        axes.set_xlim(0, offset)
        axes.set_ylim(0, max(top) * 1.08)
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("InfoNCE loss (nats)")
        axes.set_title("Training loss (faint: as logged, strong: moving average)", loc="left")
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=len(known))
        return save_figure(figure, path)


def similarity_histograms(
    models: Mapping[str, Similarities],
    path: Path,
    *,
    labels: tuple[str, str] = ("own translation", "other verses' translations"),
    title: str = "How alike a Sanskrit verse and an English text are (lines: means)",
) -> Path:
    """Cosines of right and wrong Sanskrit-English pairs, one panel a model, shared axes.

    Args:
        models: cosines by title of the panel.
        path: PNG file to write, atomically.
        labels: what the positives and the negatives are, for pairs of another kind.
        title: over all panels.

    Raises:
        CftError: no model is given, or one has no pairs.
    """
    _require_pairs(models, path)
    lowest = min(float(min(one.positives.min(), _least(one.negatives))) for one in models.values())
    bins = np.linspace(np.floor(lowest * 10) / 10, 1.0, 61)
    with styled():
        figure = Figure(
            figsize=(max(6.6, 4.1 * len(models) + 0.4), 4.4), dpi=150, layout="constrained"
        )
        panels = figure.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (name, one) in zip(panels, models.items(), strict=True):
            for cosines, colour, label, line in (
                (one.negatives, VERMILION, labels[1], "--"),
                (one.positives, BLUE, labels[0], "-"),
            ):
                if not len(cosines):
                    continue
                # Rounding takes the cosine of equal vectors past one and out of the last bin.
                cosines = np.clip(cosines, -1.0, 1.0)
                # One outline: each pass of the layout would measure every bar of `hist` anew.
                share = 100.0 / len(cosines) * np.histogram(cosines, bins)[0]
                axes.stairs(share, bins, fill=True, color=colour, alpha=0.45, label=label)
                axes.stairs(share, bins, color=colour, linewidth=1.4)
                axes.axvline(float(np.mean(cosines)), color=colour, linewidth=1.6, linestyle=line)
            gap = float(
                one.positives.mean() - (np.mean(one.negatives) if len(one.negatives) else 0.0)
            )
            axes.set_title(f"{name}\nmean gap {gap:+z.3f}", loc="left")
            axes.set_xlabel("cosine similarity")
            axes.grid(axis="y")
        panels[0].set_ylabel("share of pairs (%)")
        figure.suptitle(title, x=0.01, ha="left", fontsize=13)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return save_figure(figure, path)


def similarity_heatmap(models: Mapping[str, Similarities], path: Path) -> Path:
    """Cosines of the first held-out verses with their translations, one panel a model.

    Row i is Sanskrit verse i, column j is the English of verse j, both in the order of the
    evaluation set; a good encoder has a bright diagonal. All panels share one colour scale.

    Raises:
        CftError: no model is given, or one has no pairs.
    """
    _require_pairs(models, path)
    matrices = [one.matrix for one in models.values()]
    # From the least of all: on a scale from zero a narrow cone is one colour, hubs and all.
    low = float(np.floor(min(float(matrix.min()) for matrix in matrices) * 10) / 10)
    with styled({"axes.spines.top": True, "axes.spines.right": True}):
        figure = Figure(
            figsize=(max(6.0, 3.9 * len(models) + 1.4), 5.0), dpi=150, layout="constrained"
        )
        # Square panels leave slack that only the compressed layout gives back to the titles.
        figure.set_layout_engine("compressed")
        panels = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
        image = None
        for axes, (title, one) in zip(panels, models.items(), strict=True):
            size = len(one.matrix)
            image = axes.imshow(
                one.matrix,
                cmap="cividis",
                vmin=low,
                vmax=1.0,
                interpolation="nearest",
                extent=(0.5, size + 0.5, size + 0.5, 0.5),
            )
            first = float(np.mean(one.matrix.argmax(axis=1) == np.arange(size)))
            axes.set_title(f"{title}\nown translation nearest: {first:.0%}", loc="left")
            axes.set_xlabel("English translation of verse")
            _verse_ticks(axes, size)
        panels[0].set_ylabel("Sanskrit verse")
        figure.suptitle(
            f"Sanskrit against English, the first {len(matrices[0])} held-out verses",
            x=0.01,
            ha="left",
            fontsize=13,
        )
        if image is not None:
            bar = figure.colorbar(image, ax=list(panels), shrink=0.8, pad=0.02)
            bar.set_label("cosine similarity")
        return save_figure(figure, path)


def _verse_ticks(axes: Axes, size: int) -> None:
    step = 10 if size > 20 else 5 if size > 8 else 1
    ticks = [1, *range(step, size + 1, step)] if step > 1 else list(range(1, size + 1))
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)


def _least(values: np.ndarray) -> float:
    return float(values.min()) if len(values) else 1.0


def _require_pairs(models: Mapping[str, Similarities], path: Path) -> None:
    if not models or any(not len(one.positives) for one in models.values()):
        raise CftError(f"{path}: no cross-lingual pairs to draw; evaluate on a set that has pairs")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, atomically; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    # Not `savefig`, which lays out and visits everything twice.
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": "cft"})
    write_atomic(path, buffer.getvalue())
    return path
