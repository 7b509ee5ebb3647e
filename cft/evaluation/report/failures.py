"""What went wrong, verse by verse: what was put before the right answer, neighbours, hubs."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from cft.evaluation.metrics_neighbours import nearest
from cft.evaluation.misses import SIDES, Miss, has_neighbours, misses
from cft.evaluation.report.html import Safe, element, folded, joined, table, verse
from cft.evaluation.report.texts import ReportText
from cft.evaluation.result import SuiteResult

SHOWN = 12  # worst failures in sight; the others are folded away
LISTED = 150  # of those; a page of thousands of verses could not be read, or opened
NEIGHBOURS = 3
HUBS = 8

Texts = Mapping[int, ReportText]


def failure_sections(
    results: Mapping[str, SuiteResult], texts: Texts
) -> Iterator[tuple[str, str, Safe]]:
    """Anchor, heading and content of each part, for every model that has vectors of known texts."""
    found = {name: _Verses(one, texts) for name, one in results.items() if _has_verses(one, texts)}
    if found:
        yield "failures", "Failures", _each(found, _failures)
        yield "neighbours", "Neighbours and hubs", _each(found, _neighbours)


def _each(found: Mapping[str, "_Verses"], show: Callable[["_Verses"], Safe]) -> Safe:
    """Several models one below the other, folded away but for the last, which is the newest."""
    if len(found) == 1:
        return show(next(iter(found.values())))
    last = list(found)[-1]
    return joined(
        folded(element("b", name), show(verses), opened=name == last)
        for name, verses in found.items()
    )


class _Verses:
    """The retrieval pairs of one result and the texts that its arrays name by id."""

    def __init__(self, result: SuiteResult, texts: Texts) -> None:
        self.items, self.texts = result.items, texts

    def side(self, name: str) -> list[ReportText]:
        return [self.texts[one] for one in self.items[f"pairs/{name}_id"].tolist()]

    def documents(self, way: str) -> list[ReportText]:
        return [self.texts[one] for one in self.items[f"{way}/document_id"].tolist()]


def _has_verses(result: SuiteResult, texts: Texts) -> bool:
    items = result.items
    return has_neighbours(items) and all(
        one in texts
        for side in ("sanskrit", "english")
        for one in items[f"pairs/{side}_id"].tolist()
    )


def _failures(verses: _Verses) -> Safe:
    parts = []
    for way, title in (("sa_en", "Sanskrit → English"), ("en_sa", "English → Sanskrit")):
        found = misses(verses.items, way, NEIGHBOURS)
        total = len(verses.items[f"{way}/rank"])
        said = (
            f"{len(found)} of {total} queries do not find their own text first."
            if found
            else f"All {total} queries find their own text first."
        )
        parts += [element("h3", title), element("p", said)]
        asked, answers = (verses.side(name) for name in SIDES[way])
        rows = [
            _failure(verses.texts, asked[one.row], answers[one.row], one)
            for one in found[: SHOWN + LISTED]
        ]
        head = ("verse", "query, and its right answer", "rank", "what stands before it")
        if rows:
            parts.append(table(head, rows[:SHOWN], numbers=(2,), klass="texts"))
        if rows[SHOWN:]:
            rest = table(head, rows[SHOWN:], numbers=(2,), klass="texts")
            listed, others = len(rows) - SHOWN, len(found) - SHOWN
            some = f"The other {others}" if listed == others else f"The next {listed} of {others}"
            parts.append(folded(some, rest))
    return joined(parts)


def _failure(texts: Texts, query: ReportText, right: ReportText, miss: Miss) -> tuple[object, ...]:
    return (
        element("span", query.label, klass="id"),
        joined(
            [
                element("span", verse(query.text), klass="near"),
                element("span", _cosine(miss.right), verse(right.text), klass="near"),
            ]
        ),
        f"{miss.rank:g}",
        joined(
            _near(cosine, texts[document])
            for document, cosine in zip(miss.before, miss.cosines, strict=True)
        ),
    )


def _neighbours(verses: _Verses) -> Safe:
    return joined([*map(partial(_hubs, verses), SIDES), _nearest(verses)])


def _nearest(verses: _Verses) -> Safe:
    """The Sanskrit verses that lie nearest to each, which a map of two axes cannot show."""
    items = verses.items
    row_of = {one: row for row, one in enumerate(items.get("texts/id", np.array([])).tolist())}
    own = [row_of.get(one) for one in items["pairs/sanskrit_id"].tolist()]
    rows_P = np.unique([one for one in own if one is not None]).astype(np.int64)
    k = min(NEIGHBOURS, len(rows_P) - 1)
    if k < 1:
        return Safe("")
    vector_PD = items["texts/vector"][rows_P]
    known = [verses.texts[one] for one in items["texts/id"][rows_P].tolist()]
    near_Pk = nearest(vector_PD, vector_PD, k, without_self=True)
    rows = [
        (
            element("span", one.label, klass="id"),
            verse(one.text),
            joined(_near(float(vector @ vector_PD[row]), known[row]) for row in near_k.tolist()),
        )
        for one, vector, near_k in zip(
            known[:LISTED], vector_PD[:LISTED], near_Pk[:LISTED], strict=True
        )
    ]
    head = ("verse", "Sanskrit", "nearest other verses")
    every = "every verse" if len(rows) == len(known) else f"the first {len(rows)} verses"
    return folded(f"The nearest verses of {every}", table(head, rows, klass="texts"))


def _hubs(verses: _Verses, way: str) -> Safe:
    count_M, documents = verses.items[f"{way}/occurrences"], verses.documents(way)
    queries, k = verses.items[f"{way}/neighbours"].shape
    most = np.argsort(-count_M, kind="stable")[:HUBS].tolist()
    rows = [
        (
            element("span", documents[row].label, klass="id"),
            verse(documents[row].text),
            f"{count_M[row]} of {queries}",
        )
        for row in most
    ]
    of = "English texts" if way == "sa_en" else "Sanskrit verses"
    fair = queries * k / len(count_M)
    why = (
        f"A hub is near to everything. Among how many queries' {k} nearest {of} each of these "
        f"stands (a fair share is {fair:.0f}); {int((count_M == 0).sum())} of {len(count_M)} "
        "stand in none."
    )
    head = ("verse", of, "among the nearest of")
    return joined(
        [
            element("h3", f"Hubs among {of}"),
            element("p", why),
            table(head, rows, numbers=(2,), klass="texts"),
        ]
    )


def _near(cosine: float, text: ReportText) -> Safe:
    label = element("span", f" {text.label}", klass="id")
    return element("span", _cosine(cosine), verse(text.text), label, klass="near")


def _cosine(value: float) -> Safe:
    return element("span", f"{value:z.3f}", klass="cos")
