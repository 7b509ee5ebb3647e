"""What is held out, decided before any triplet is made.

The epic is split by whole chapters, the verse corpus by whole themes: neighbouring verses repeat
each other's words, so that a split by rows would show the model most of its own examination.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cft.corpora.base import HELD_OUT_SPLITS, ParallelCorpus, VerseCorpus, VersePair
from cft.errors import CftError
from cft.text import wording
from cft.triplets.base import draws
from cft.triplets.groups import text_groups, theme_labels
from cft.triplets.itihasa import chapters_known

MAX_HELD_OUT_SHARE = 0.2  # of a corpus that comes without a held-out split
_SEARCHES, _SEARCH_CELLS = 2000, 4_000_000  # draws of groups, and how many numbers they may take
SHARES_A_SIDE = "shares_a_side_with_held_out"


@dataclass(frozen=True)
class EpicSplit:
    """Training rows and held-out rows of a parallel corpus, which share no text.

    Attributes:
        train: rows to make triplets of.
        held_out: rows that an evaluation set may draw from.
        rule: how they were told apart, for the manifest.
        dropped: training rows dropped, by reason.
    """

    train: list[VersePair]
    held_out: list[VersePair]
    rule: str
    dropped: dict[str, int]


@dataclass(frozen=True)
class VerseSplit:
    """The two sides of a verse corpus; no group is cut and no text stands on both sides.

    Attributes:
        train: verses of stage 2.
        held_out: verses that stage 2 never sees.
        train_similarity: similarity pairs that may train.
        held_out_similarity: similarity pairs of unseen texts only.
        held_out_dissimilarity: dissimilarity pairs of unseen texts only.
        held_out_graded: graded pairs, as rows of the corpus, of unseen texts only.
        group_of: group of every verse's text, and of free texts connected to verses.
        rule: how the sides were told apart, for the manifest.
        counts: what fell on each side, and the pairs that fell on neither.
    """

    train: list[VersePair]
    held_out: list[VersePair]
    train_similarity: list[tuple[str, str]]
    held_out_similarity: list[tuple[str, str]]
    held_out_dissimilarity: list[tuple[str, str]]
    held_out_graded: list[int]
    group_of: dict[str, int]
    rule: str
    counts: dict[str, int] = field(default_factory=dict)


def split_epic(
    corpus: ParallelCorpus, eval_pairs: int, seed: int, unseen: Sequence[str] = ()
) -> EpicSplit:
    """Training and held-out rows of a parallel corpus.

    Held out is the corpus's own test split, else its dev split. A corpus with neither gives up
    whole chapters drawn by the seed or, where chapters are not known, its last rows: as many as
    ``eval_pairs``, at most a fifth. Training rows that share a text with any held-out split, or
    with ``unseen`` (the held-out texts of another corpus), are dropped.

    Raises:
        CftError: nothing is left to train on or to hold out.
    """
    train = corpus.splits["train"]
    given = [name for name in HELD_OUT_SPLITS if corpus.splits.get(name)]
    if given:
        held_out, rule = corpus.splits[given[0]], f"the corpus's own {given[0]} split"
    else:
        train, held_out, rule = _carve(corpus.name, train, eval_pairs, seed)
    held = [*held_out, *(pair for name in given[1:] for pair in corpus.splits[name])]
    taboo = {wording(text) for pair in held for text in (pair.sanskrit, pair.english)}
    taboo.update(map(wording, unseen))
    kept = [p for p in train if taboo.isdisjoint((wording(p.sanskrit), wording(p.english)))]
    if not kept:
        raise CftError(
            f"corpus {corpus.name}: all {len(train)} training rows share a text with a held-out "
            "split; give splits that differ"
        )
    return EpicSplit(kept, list(held_out), rule, {SHARES_A_SIDE: len(train) - len(kept)})


def _carve(
    name: str, rows: Sequence[VersePair], eval_pairs: int, seed: int
) -> tuple[list[VersePair], list[VersePair], str]:
    target = min(eval_pairs, int(len(rows) * MAX_HELD_OUT_SHARE))
    if target < 1:
        raise CftError(
            f"corpus {name}: {len(rows)} training rows and no dev or test split, so nothing can "
            "be held out; give more rows or a test split"
        )
    if not chapters_known(rows):
        rule = "the last rows of the training split, as chapters are not known"
        return list(rows[:-target]), list(rows[-target:]), rule
    chapters = list(dict.fromkeys(pair.chapter for pair in rows))
    if len(chapters) < 2:
        raise CftError(
            f"corpus {name}: one chapter and no dev or test split, so no whole chapter can be "
            "held out; give more rows or a test split"
        )
    sizes = dict.fromkeys(chapters, 0)
    for pair in rows:
        sizes[pair.chapter] += 1
    chosen: set[str | None] = set()
    count = 0
    for one in draws(seed, "held-out chapters").permutation(len(chapters)).tolist():
        if count >= target or len(chosen) == len(chapters) - 1:
            break
        chosen.add(chapters[one])
        count += sizes[chapters[one]]
    return (
        [pair for pair in rows if pair.chapter not in chosen],
        [pair for pair in rows if pair.chapter in chosen],
        f"{len(chosen)} whole chapters of the training split",
    )


def split_verses(corpus: VerseCorpus, share: float, seed: int) -> VerseSplit:
    """Hold out about ``share`` of the verses, by whole groups drawn by the seed.

    Of many draws the one is taken whose held-out side keeps closest to its share of the
    similarity pairs and at least its share of the dissimilarity pairs.

    Raises:
        CftError: all verses form one group.
    """
    verses, group_of = corpus.verses, text_groups(corpus)
    group_V = [group_of[verse.sanskrit] for verse in verses]
    roots, size_G = np.unique(group_V, return_counts=True)
    if len(roots) < 2:
        raise CftError(
            f"corpus {corpus.name}: all {len(verses)} verses form one group, so none can be "
            "held out; label more themes or remove similarity pairs"
        )
    rank = {root: number for number, root in enumerate(roots.tolist())}
    group_of = {text: rank[root] for text, root in group_of.items()}
    held_G = _choose(corpus, group_of, size_G, share, draws(seed, "held-out verses"))
    held_texts = {text for text, group in group_of.items() if held_G[group]}
    held = [verse for verse in verses if verse.sanskrit in held_texts]
    train = [verse for verse in verses if verse.sanskrit not in held_texts]
    train_pairs = [p for p in corpus.similarity_pairs if not held_texts.intersection(p)]
    seen = {text for verse in train for text in (verse.sanskrit, verse.english)}
    seen.update(text for pair in train_pairs for text in pair)

    similar = [p for p in corpus.similarity_pairs if not seen.intersection(p)]
    unlike = [p for p in corpus.dissimilarity_pairs if not seen.intersection(p)]
    graded = [
        row for row, one in enumerate(corpus.graded_pairs) if not seen.intersection((one.a, one.b))
    ]
    return VerseSplit(
        train=train,
        held_out=held,
        train_similarity=train_pairs,
        held_out_similarity=similar,
        held_out_dissimilarity=unlike,
        held_out_graded=graded,
        group_of=group_of,
        rule="whole labelled themes"
        if theme_labels(corpus)
        else "whole groups of verses that similarity pairs connect",
        counts={
            "groups": len(roots),
            "held_out_groups": int(held_G.sum()),
            "train_verses": len(train),
            "held_out_verses": len(held),
            "train_similarity_pairs": len(train_pairs),
            "held_out_similarity_pairs": len(similar),
            "cut_similarity_pairs": len(corpus.similarity_pairs) - len(train_pairs) - len(similar),
            "held_out_dissimilarity_pairs": len(unlike),
            "held_out_graded_pairs": len(graded),
        },
    )


def _choose(
    corpus: VerseCorpus,
    group_of: dict[str, int],
    size_G: np.ndarray,
    share: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """The best of many random choices of whole groups: a mask, ``bool [G]``."""
    num_groups = len(size_G)
    num_searches = min(_SEARCHES, max(1, _SEARCH_CELLS // num_groups))
    target = share * size_G.sum()
    order_SG = rng.permuted(np.tile(np.arange(num_groups), (num_searches, 1)), axis=1)
    before_SG = np.cumsum(size_G[order_SG], axis=1) - size_G[order_SG]
    held_SG = np.zeros((num_searches, num_groups), dtype=bool)
    # Groups in random order until the share is reached; the last one always stays to train on.
    take_SG = before_SG < target
    take_SG[:, -1] = False
    np.put_along_axis(held_SG, order_SG, take_SG, axis=1)
    verses_S = held_SG @ size_G

    def held_share(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Share of the pairs whose verses are all held out, for each choice."""
        whole_SP = [
            held_SG[:, sorted({group_of[text] for text in pair if text in group_of})].all(axis=1)
            for pair in pairs
            if any(text in group_of for text in pair)
        ]
        return np.mean(whole_SP, axis=0) if whole_SP else np.full(num_searches, share)

    similar_S, unlike_S = (
        held_share(corpus.similarity_pairs),
        held_share(corpus.dissimilarity_pairs),
    )
    cost_S = (
        np.abs(verses_S / size_G.sum() - share)
        + np.abs(similar_S - share)
        + np.maximum(share - unlike_S, 0)
    )
    return held_SG[int(np.argmin(cost_S))]
