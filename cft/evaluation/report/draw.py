"""Every plot that the arrays of a suite allow, as PNG files with their captions."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from cft.evaluation.figures import PRIMARY, described
from cft.evaluation.metrics import reciprocal_ranks
from cft.evaluation.plots import similarity_heatmap, similarity_histograms
from cft.evaluation.report.pictures import (
    embedding_map,
    interval_plot,
    length_effect,
    rank_histograms,
    score_scatter,
)
from cft.evaluation.report.texts import ReportText
from cft.evaluation.result import Similarities, SuiteResult

One = TypeVar("One")
Results = Mapping[str, SuiteResult]
PANELS = 3  # models side by side; more would be too small to read on a page
_WAYS = {"sa_en/rank": "Sanskrit → English", "en_sa/rank": "English → Sanskrit"}


def draw_suite(
    results: Results, texts: Mapping[int, ReportText], folder: Path
) -> list[tuple[Path, str]]:
    """Draw what there is data for; PNG files and captions, in the order of the page.

    Args:
        results: evaluations of one suite by title of their column.
        texts: texts of the suite by id; without them there is no map and no length effect.
        folder: where the files go; made when it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, draw, caption in _plots(results, texts):
        drawn.append((draw(folder / f"{name}.png"), caption))
    return drawn


def _plots(
    results: Results, texts: Mapping[int, ReportText]
) -> Iterator[tuple[str, Callable[[Path], Path], str]]:
    figures = {name: one.figures for name, one in results.items()}
    labels = {name: described(name)[0] for name in PRIMARY}
    if any(name in one for one in figures.values() for name in PRIMARY):
        yield (
            "headlines",
            partial(interval_plot, figures, labels),
            "The main figures of every model; a bar is its 95% interval.",
        )
    pairs = {name: one for name, one in results.items() if one.similarities is not None}
    for number, some in _groups(pairs):
        found = {name: one.similarities for name, one in some.items() if one.similarities}
        yield (
            f"similarities{number}",
            partial(similarity_histograms, found),
            "How alike a verse and its own translation are, and how alike it and those of other "
            "verses: the less the two hills overlap, the better.",
        )
        yield (
            f"heatmap{number}",
            partial(similarity_heatmap, found),
            "Rows are Sanskrit verses, columns English ones: a good encoder shows a bright "
            "diagonal; a bright column is a hub, near to everything.",
        )
    labelled = {name: _separated(one) for name, one in results.items() if _is_labelled(one)}
    for number, apart in _groups(labelled):
        yield (
            f"separation{number}",
            partial(
                similarity_histograms,
                apart,
                labels=("similar pairs", "dissimilar pairs"),
                title="How alike the texts of labelled pairs are (lines: means)",
            ),
            "Similar and dissimilar pairs: the less the two hills overlap, the better.",
        )
    ranked = {name: one for name, one in results.items() if _WAYS.keys() <= one.items.keys()}
    for number, some in _groups(ranked):
        ranks = {
            name: {way: one.items[key] for key, way in _WAYS.items()} for name, one in some.items()
        }
        yield (
            f"ranks{number}",
            partial(rank_histograms, ranks),
            "How far down the right answer stands.",
        )
    for number, some in _groups(_with_vectors(results, texts)):
        yield (
            f"map{number}",
            partial(_map, some, texts),
            "Colour tells the group, shape the language; faint lines join a verse with its "
            "translation. Two clouds by shape mean that language counts more than meaning.",
        )
    for number, some in _groups(
        {name: one for name, one in ranked.items() if _ids_known(one, texts)}
    ):
        yield (
            f"lengths{number}",
            partial(_lengths, some, texts),
            "Sanskrit queries by the length of the verse.",
        )
    graded = {name: one for name, one in results.items() if "sts/cosine" in one.items}
    for number, some in _groups(graded):
        score_S = next(iter(some.values())).items["sts/score"]
        cosines = {name: one.items["sts/cosine"] for name, one in some.items()}
        yield (
            f"graded{number}",
            partial(score_scatter, score_S, cosines),
            "Graded pairs: the cosine should rise with the score.",
        )


def _is_labelled(result: SuiteResult) -> bool:
    similar_N = result.items.get("separation/similar")
    return similar_N is not None and bool(similar_N.any())


def _separated(result: SuiteResult) -> Similarities:
    similar_N, cosine_N = result.items["separation/similar"], result.items["separation/cosine"]
    return Similarities(cosine_N[similar_N], cosine_N[~similar_N], np.empty((0, 0)))


def _groups(results: Mapping[str, One]) -> Iterator[tuple[str, dict[str, One]]]:
    """Some models at a time, with what tells their files apart: "", "-2", "-3"."""
    groups = [dict(results)] if len(results) <= PANELS else _even(results)
    for place, some in enumerate(groups):
        if some:
            yield (f"-{place + 1}" if place else ""), dict(some)


def _even(results: Mapping[str, One]) -> list[dict[str, One]]:
    rows = -(-len(results) // PANELS)
    size = -(-len(results) // rows)
    names = list(results)
    return [
        {name: results[name] for name in names[start : start + size]}
        for start in range(0, len(names), size)
    ]


def _with_vectors(results: Results, texts: Mapping[int, ReportText]) -> dict[str, SuiteResult]:
    """Results that have vectors of the same texts, of which two or more are known."""
    found: dict[str, SuiteResult] = {}
    ids: set[int] = set()
    for name, one in results.items():
        own = set(one.items.get("texts/id", np.array([])).tolist()) & texts.keys()
        if len(own) > 1 and "texts/vector" in one.items and own == (ids or own):
            found[name], ids = one, own
    return found


def _ids_known(result: SuiteResult, texts: Mapping[int, ReportText]) -> bool:
    ids = result.items.get("pairs/sanskrit_id")
    return ids is not None and all(int(one) in texts for one in ids)


def _map(some: Results, texts: Mapping[int, ReportText], path: Path) -> Path:
    first = next(iter(some.values())).items
    ids = [one for one in first["texts/id"].tolist() if one in texts]
    row_of = {one: row for row, one in enumerate(ids)}
    known = [texts[one] for one in ids]
    vectors = {}
    for name, one in some.items():
        rows = {text: row for row, text in enumerate(one.items["texts/id"].tolist())}
        vectors[name] = one.items["texts/vector"][[rows[text] for text in ids]]
    sides = (
        first.get(f"pairs/{side}_id", np.array([])).tolist() for side in ("sanskrit", "english")
    )
    links = [
        (row_of[one], row_of[other])
        for one, other in zip(*sides, strict=True)
        if one in row_of and other in row_of
    ]
    groups, marks = [one.group for one in known], [one.language for one in known]
    return embedding_map(vectors, groups, marks, path, links)


def _lengths(some: Results, texts: Mapping[int, ReportText], path: Path) -> Path:
    first = next(iter(some.values())).items
    lengths = np.array([len(texts[int(one)].text) for one in first["pairs/sanskrit_id"]])
    scores = {name: reciprocal_ranks(one.items["sa_en/rank"]) for name, one in some.items()}
    return length_effect(lengths, scores, path)
