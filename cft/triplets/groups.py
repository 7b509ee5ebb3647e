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


def text_groups(corpus: VerseCorpus) -> dict[str, int]:
    """Groups that a split must not cut: for each text the number of its group's first verse.

    Verses of one labelled theme where all are labelled; otherwise verses connected by similarity
    pairs, a verse in no pair alone. Verses that share a text belong together in any case. Texts
    are the verses, their translations and, where pairs make the groups, the free texts that are
    connected to a verse.
    """
    verses = corpus.verses
    nodes = verse_numbers(verses)
    links = [
        (number, nodes[text])
        for number, verse in enumerate(verses)
        for text in (verse.sanskrit, verse.english)
    ]
    if theme_labels(corpus):
        first: dict[str | None, int] = {}
        links += [(n, first.setdefault(verse.chapter, n)) for n, verse in enumerate(verses)]
        size = len(verses)
    else:
        size = len(verses)
        for pair in corpus.similarity_pairs:
            for text in pair:
                if text not in nodes:
                    nodes[text] = size
                    size += 1
        links += [(nodes[a], nodes[b]) for a, b in corpus.similarity_pairs]
    group = components(size, links).tolist()
    return {text: group[node] for text, node in nodes.items() if group[node] < len(verses)}
