"""Labelled pairs and retrieval cases of a suite: which of them an encoder gets wrong."""

from collections.abc import Iterator, Mapping
from typing import Any

from cft.evaluation.report.html import Safe, element, folded, joined, table, verse
from cft.evaluation.result import SuiteResult

SHOWN = 10


def pair_sections(results: Mapping[str, SuiteResult]) -> Iterator[tuple[str, str, Safe]]:
    """Anchor, heading and content for results whose details hold pairs or cases."""
    for key, heading, show in (("pairs", "Pairs", _pairs), ("cases", "Retrieval cases", _cases)):
        found = {name: one.details[key] for name, one in results.items() if one.details.get(key)}
        last = list(found)[-1] if found else ""
        if found:
            yield (
                key,
                heading,
                show(found[last])
                if len(found) == 1
                else joined(
                    folded(element("b", name), show(rows), opened=name == last)
                    for name, rows in found.items()
                ),
            )


def _pairs(pairs: list[dict[str, Any]]) -> Safe:
    """The similar pairs that look least alike, and the dissimilar ones that look most alike."""
    parts = []
    for label, title, sign in (
        (1, "Similar pairs with the lowest cosine", 1),
        (0, "Dissimilar pairs with the highest cosine", -1),
    ):
        chosen = sorted(
            (one for one in pairs if one["label"] == label), key=lambda one: sign * one["cosine"]
        )
        rows = [
            (f"{one['cosine']:z.3f}", verse(one["text_a"]), verse(one["text_b"])) for one in chosen
        ]
        head = ("cosine", "one text", "the other")
        parts += [
            element("h3", title),
            table(head, rows[:SHOWN], numbers=(0,), klass="texts"),
        ]
        if rows[SHOWN:]:
            rest = table(head, rows[SHOWN:], numbers=(0,), klass="texts")
            parts.append(folded(f"The other {len(rows) - SHOWN}", rest))
    return joined(parts)


def _cases(cases: list[dict[str, Any]]) -> Safe:
    """Every case, the worst first, by the better of its two ranks."""
    chosen = sorted(cases, key=lambda one: -min(one["rank_sanskrit"], one["rank_english"]))
    rows = [
        (
            verse(one["query"]),
            ", ".join(str(number + 1) for number in one["relevant"]),
            f"{one['rank_sanskrit']:g}",
            f"{one['rank_english']:g}",
        )
        for one in chosen
    ]
    head = ("query", "verses that answer it", "rank among verses", "rank among translations")
    return table(head, rows, numbers=(2, 3), klass="texts")
