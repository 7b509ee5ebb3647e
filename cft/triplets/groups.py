"""Which verses belong together: connected components, and the themes of a verse corpus."""

from collections.abc import Iterable, Sequence

import numpy as np

from cft.corpora.base import VerseCorpus, VersePair


def components(size: int, links: Iterable[tuple[int, int]]) -> np.ndarray:
    """Connected components of ``size`` nodes under undirected links, by union-find.

    Returns:
        ``int64 [size]``: the smallest node of each node's component.
    """
    parent = list(range(size))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in links:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.array([root(node) for node in range(size)], dtype=np.int64)


def verse_numbers(verses: Sequence[VersePair]) -> dict[str, int]:
    """Number of the verse that a text is the Sanskrit or the English of (the first, if several)."""
    numbers: dict[str, int] = {}
    for number, verse in enumerate(verses):
        numbers.setdefault(verse.sanskrit, number)
        numbers.setdefault(verse.english, number)
    return numbers


def theme_labels(corpus: VerseCorpus) -> bool:
    """Whether every verse names its theme."""
    return all(verse.chapter is not None for verse in corpus.verses)


def verse_groups(corpus: VerseCorpus) -> np.ndarray:
    """Groups that a split must not cut, ``int64 [V]``: the smallest verse of each group.

    Verses of one labelled theme where all are labelled; otherwise verses connected by similarity
    pairs (a free text connects the verses it is paired with), a verse in no pair alone. Verses
    that share a text belong together in any case.
    """
    numbers = verse_numbers(corpus.verses)
    links = [
        (number, numbers[text])
        for number, verse in enumerate(corpus.verses)
        for text in (verse.sanskrit, verse.english)
    ]
    if theme_labels(corpus):
        first: dict[str | None, int] = {}
        for number, verse in enumerate(corpus.verses):
            links.append((number, first.setdefault(verse.chapter, number)))
        return components(len(corpus.verses), links)
    size = len(corpus.verses)
    nodes = dict(numbers)
    for pair in corpus.similarity_pairs:
        for text in pair:
            if text not in nodes:
                nodes[text] = size
                size += 1
    links += [(nodes[a], nodes[b]) for a, b in corpus.similarity_pairs]
    return components(size, links)[: len(corpus.verses)]
