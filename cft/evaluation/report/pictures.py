"""Plots of one or more encoders on the same items: ranks, map, length effect, scores, intervals.

All write PNG files in the style of :mod:`cft.evaluation.plots`, a panel a model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from cft.errors import CftError
from cft.evaluation.figures import Figure as Value
from cft.evaluation.plane import principal_plane
from cft.evaluation.plots import (
    BLUE,
    FAINT,
    INK,
    STAGE_COLOURS,
    VERMILION,
    save_figure,
    styled,
)

RANK_BINS = ((1, 1), (2, 3), (4, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, None))


def rank_histograms(ranks: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> Path:
    """How often the right answer stood in which place, both directions beside each other.

    Args:
        ranks: model -> direction -> mean ranks ``[P]``, 1 is best.
        path: PNG file to write, atomically.

    Raises:
        CftError: there is no rank to draw.
    """
    _require(path, "ranks", [one for ways in ranks.values() for one in ways.values()])
    worst = max(float(one.max()) for ways in ranks.values() for one in ways.values())
    bins = [(low, high) for low, high in RANK_BINS if low <= np.ceil(worst)]
    labels = [
        str(low) if low == high else f"{low}–{high}" if high else f"> {low - 1}"
        for low, high in bins
    ]
    with styled():
        figure, panels = _panels(len(ranks), height=4.0, sharey=True)
        for axes, (title, ways) in zip(panels, ranks.items(), strict=True):
            width = 0.8 / len(ways)
            for place, (way, rank_P) in enumerate(ways.items()):
                # A mean rank of a tie lies between two places and counts for the later one.
                place_P = np.ceil(rank_P)
                share = [
                    100 * np.mean((place_P >= low) & (place_P <= (high or np.inf)))
                    for low, high in bins
                ]
                x = np.arange(len(bins)) + (place - (len(ways) - 1) / 2) * width
                axes.bar(x, share, width, color=(BLUE, VERMILION)[place % 2], label=way)
            axes.set_xticks(np.arange(len(bins)), labels, rotation=30)
            axes.set_xlabel("rank of the right answer")
            axes.set_title(title, loc="left")
            axes.grid(axis="y")
        panels[0].set_ylabel("share of queries (%)")
        _title(figure, "In which place the right answer stands (1 is best)")
        _legend(figure, panels[0], 2)
        return save_figure(figure, path)


def embedding_map(
    vectors: Mapping[str, np.ndarray],
    groups: Sequence[str],
    marks: Sequence[str],
    path: Path,
    links: Sequence[tuple[int, int]] = (),
) -> Path:
    """All texts on the plane of the two main axes of variance (PCA), coloured by group.

    Args:
        vectors: model -> unit rows ``[N, D]``, all of the same texts.
        groups: for each text what colours it, such as the work that it is from.
        marks: for each text what shapes it, such as its language.
        path: PNG file to write, atomically.
        links: rows joined by a faint line, such as a verse and its translation.

    Raises:
        CftError: there are fewer than two texts, or a model has another number of them.
    """
    _require(path, "texts", list(vectors.values()))
    for title, vector_ND in vectors.items():
        if len(vector_ND) != len(groups) or len(groups) != len(marks) or len(groups) < 2:
            raise CftError(
                f"{path}: {title} has {len(vector_ND)} vectors, {len(groups)} groups and "
                f"{len(marks)} marks; give one of each for at least two texts"
            )
    group_N, mark_N = np.asarray(groups), np.asarray(marks)
    kinds = list(dict.fromkeys(groups))
    shapes = dict(zip(dict.fromkeys(marks), "o^sD", strict=False))
    with styled():
        figure, panels = _panels(len(vectors), height=4.9, sharey=False)
        for axes, (title, vector_ND) in zip(panels, vectors.items(), strict=True):
            plane_N2, share_2 = principal_plane(vector_ND)
            if links:
                lines_L22 = plane_N2[np.asarray(links)]
                axes.add_collection(
                    LineCollection(lines_L22, colors=FAINT, linewidths=0.7, zorder=1)
                )
            for place, kind in enumerate(kinds):
                for mark, shape in shapes.items():
                    inside_N = (group_N == kind) & (mark_N == mark)
                    if inside_N.any():
                        axes.scatter(
                            plane_N2[inside_N, 0],
                            plane_N2[inside_N, 1],
                            s=22,
                            marker=shape,
                            color=STAGE_COLOURS[place % len(STAGE_COLOURS)],
                            alpha=0.8,
                            linewidths=0.4,
                            edgecolors="white",
                            label=f"{kind}, {mark}",
                            zorder=2,
                        )
            axes.set_title(
                f"{title}\n{share_2[0]:.0%} and {share_2[1]:.0%} of the variance", loc="left"
            )
            axes.set_xlabel("first axis")
            axes.set_aspect("equal", adjustable="datalim")
            axes.grid()
        panels[0].set_ylabel("second axis")
        _title(figure, "The embeddings on their two main axes")
        _legend(figure, panels[0], max(1, int(figure.get_figwidth() / 2.7)))
        return save_figure(figure, path)


def length_effect(
    lengths: np.ndarray,
    scores: Mapping[str, np.ndarray],
    path: Path,
    *,
    unit: str = "characters",
    label: str = "reciprocal rank",
) -> Path:
    """A score of each query against the length of its text, with the means of five length groups.

    Args:
        lengths: length of each query's text ``[P]``, in ``unit``.
        scores: model -> score of each query ``[P]``.
        path: PNG file to write, atomically.
        unit: what lengths are counted in.
        label: what the score is.

    Raises:
        CftError: there is no score to draw.
    """
    _require(path, "scores", list(scores.values()))
    groups = np.array_split(np.argsort(lengths, kind="stable"), min(5, len(lengths)))
    middles = [float(np.mean(lengths[group])) for group in groups]
    with styled():
        figure, panels = _panels(len(scores), height=4.0, sharey=True)
        for axes, (title, score_P) in zip(panels, scores.items(), strict=True):
            axes.scatter(lengths, score_P, s=16, color=BLUE, alpha=0.4, linewidths=0)
            axes.plot(
                middles,
                [float(np.mean(score_P[group])) for group in groups],
                color=VERMILION,
                marker="o",
                linewidth=2,
                label=f"mean of each of {len(groups)} groups of equal size",
            )
            axes.set_title(title, loc="left")
            axes.set_xlabel(f"length of the text ({unit})")
            axes.grid(axis="y")
        panels[0].set_ylabel(label)
        _title(figure, "Whether short texts are harder")
        _legend(figure, panels[0], 1)
        return save_figure(figure, path)


def score_scatter(score_S: np.ndarray, cosines: Mapping[str, np.ndarray], path: Path) -> Path:
    """Cosine of each graded pair against its score, with the mean cosine of every score.

    Args:
        score_S: what people (or the label) say, ``[S]``.
        cosines: model -> cosine of each pair ``[S]``.
        path: PNG file to write, atomically.

    Raises:
        CftError: there is no pair to draw.
    """
    _require(path, "graded pairs", list(cosines.values()))
    levels = np.unique(score_S)
    # The same seeded offsets for every model: points of one score must not cover each other.
    reach = 0.12 * (np.diff(levels).min() if len(levels) > 1 else 1.0)
    jitter_S = np.random.default_rng(0).uniform(-reach, reach, len(score_S))
    with styled():
        figure, panels = _panels(len(cosines), height=4.0, sharey=True)
        for axes, (title, cosine_S) in zip(panels, cosines.items(), strict=True):
            axes.scatter(score_S + jitter_S, cosine_S, s=16, color=BLUE, alpha=0.4, linewidths=0)
            if len(levels) <= 12:
                means = [cosine_S[score_S == level].mean() for level in levels]
                axes.plot(
                    levels, means, color=VERMILION, marker="o", linewidth=2, label="mean of a score"
                )
            axes.set_title(title, loc="left")
            axes.set_xlabel("score of the pair")
            axes.grid(axis="y")
        panels[0].set_ylabel("cosine similarity")
        _title(figure, "Cosine of graded pairs against their score")
        if len(levels) <= 12:
            _legend(figure, panels[0], 1)
        return save_figure(figure, path)


def interval_plot(
    figures: Mapping[str, Mapping[str, Value]], labels: Mapping[str, str], path: Path
) -> Path:
    """Values with their 95% intervals: a panel a metric, a line a model.

    Args:
        figures: model -> metric -> figure; a model may lack a metric.
        labels: metric -> title of its panel, in the order of the panels.
        path: PNG file to write, atomically.

    Raises:
        CftError: no model has any of the metrics.
    """
    known = [name for name in labels if any(name in one for one in figures.values())]
    if not known:
        raise CftError(f"{path}: no figures to draw; evaluate a model that has these metrics")
    names = list(figures)
    with styled():
        figure = Figure(
            figsize=(3.4 * len(known) + 1.2, 0.42 * len(names) + 1.6),
            dpi=150,
            layout="constrained",
        )
        panels = figure.subplots(1, len(known), sharey=True, squeeze=False)[0]
        for axes, metric in zip(panels, known, strict=True):
            for place, name in enumerate(names):
                if metric not in figures[name]:
                    continue
                one = figures[name][metric]
                colour = STAGE_COLOURS[place % len(STAGE_COLOURS)]
                axes.plot([one.low, one.high], [place, place], color=colour, linewidth=3, alpha=0.5)
                axes.plot([one.value], [place], "o", color=colour, markersize=7)
            axes.set_title(labels[metric], loc="left")
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.set_yticks(range(len(names)), names)
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        return save_figure(figure, path)


def _panels(count: int, *, height: float, sharey: bool) -> tuple[Figure, list[Axes]]:
    """One row of panels as wide as the page whatever their number."""
    width = {1: 6.6, 2: 9.2}.get(count, 4.1 * count)
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    return figure, list(figure.subplots(1, count, sharey=sharey, squeeze=False)[0])


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=13, color=INK)


def _legend(figure: Figure, axes: Any, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _require(path: Path, what: str, arrays: Sequence[np.ndarray]) -> None:
    if not arrays or any(not len(one) for one in arrays):
        raise CftError(f"{path}: no {what} to draw; evaluate on a set that has some")
