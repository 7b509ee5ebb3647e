"""Make the evaluation set out of what the splits held out."""

from collections.abc import Sequence

import numpy as np

from cft.corpora.base import GradedPair, VersePair
from cft.corpora.evalset import EvalPair, EvalSet, EvalSts, EvalTriplet
from cft.errors import CftError
from cft.triplets.base import draws
from cft.triplets.splits import EpicSplit, VerseSplit

MIN_PAIRS = 10  # a retrieval pool below this says nothing


def make_evalset(
    name: str,
    epic: EpicSplit,
    verses: VerseSplit,
    graded: Sequence[GradedPair],
    eval_pairs: int,
    seed: int,
) -> EvalSet:
    """Retrieval pairs from the epic; STS and triplets from the held-out verses.

    STS: the held-out rows of ``graded`` (0-5); where the corpus grades nothing, 1 for a
    similarity pair and 0 for a dissimilarity pair.

    Raises:
        CftError: fewer than ten distinct held-out pairs.
    """
    pairs = retrieval_pairs(epic.held_out, eval_pairs, seed)
    if len(pairs) < MIN_PAIRS:
        raise CftError(
            f"evaluation set {name}: {len(pairs)} held-out pairs with distinct texts, fewer than "
            f"{MIN_PAIRS}; give a larger test or dev split, or more rows"
        )
    if graded:
        sts = [
            EvalSts(a=graded[row].a, b=graded[row].b, score=graded[row].score)
            for row in verses.held_out_graded
        ]
    else:
        sts = [EvalSts(a=a, b=b, score=1) for a, b in verses.held_out_similarity]
        sts += [EvalSts(a=a, b=b, score=0) for a, b in verses.held_out_dissimilarity]
    return EvalSet(
        name=name,
        pairs=pairs,
        sts=sts,
        triplets=_cross_lingual(verses, seed) + _mono(verses, seed),
        sources={
            "pairs": epic.rule,
            "sts": "graded pairs, 0 to 5" if graded else "similarity 1, dissimilarity 0",
            "verses": verses.rule,
        },
    )


def retrieval_pairs(held_out: Sequence[VersePair], most: int, seed: int) -> list[EvalPair]:
    """At most ``most`` pairs drawn by the seed, in their order; all texts are distinct.

    A text that stood twice in the pool would make one of two right answers wrong.
    """
    seen: set[str] = set()
    chosen: list[int] = []
    for row in draws(seed, "evaluation pairs").permutation(len(held_out)).tolist():
        pair = held_out[row]
        if len(chosen) < most and seen.isdisjoint((pair.sanskrit, pair.english)):
            seen.update((pair.sanskrit, pair.english))
            chosen.append(row)
    return [
        EvalPair(sanskrit=held_out[row].sanskrit, english=held_out[row].english)
        for row in sorted(chosen)
    ]


def _cross_lingual(verses: VerseSplit, seed: int) -> list[EvalTriplet]:
    """(verse, its translation, the translation of a held-out verse of another group)."""
    rng = draws(seed, "evaluation cross_lingual")
    triplets = []
    for verse in verses.held_out:
        negative = _of_another_group(verses, (verse.sanskrit, verse.english), "english", rng)
        if negative is not None:
            triplets.append(
                EvalTriplet(
                    anchor=verse.sanskrit,
                    positive=verse.english,
                    negative=negative,
                    category="cross_lingual",
                )
            )
    return triplets


def _mono(verses: VerseSplit, seed: int) -> list[EvalTriplet]:
    """(one of a similarity pair, the other, a text unlike it), all Sanskrit or all English.

    The unlike text is the anchor's partner in a dissimilarity pair where there is one in the same
    language, else a verse of another group.
    """
    rng = draws(seed, "evaluation mono")
    sides = {verse.sanskrit: "sanskrit" for verse in verses.held_out}
    sides |= {verse.english: "english" for verse in verses.held_out}
    unlike: dict[str, list[str]] = {}
    for a, b in verses.held_out_dissimilarity:
        unlike.setdefault(a, []).append(b)
        unlike.setdefault(b, []).append(a)
    triplets = []
    for anchor, positive in verses.held_out_similarity:
        side = sides.get(anchor)
        if side is None or sides.get(positive) != side or anchor == positive:
            continue
        partners = [text for text in unlike.get(anchor, []) if sides.get(text) == side]
        if partners:
            negative: str | None = partners[int(rng.integers(len(partners)))]
        else:
            negative = _of_another_group(verses, (anchor, positive), side, rng)
        if negative is not None and negative != positive:
            triplets.append(
                EvalTriplet(anchor=anchor, positive=positive, negative=negative, category="mono")
            )
    return triplets


def _of_another_group(
    verses: VerseSplit, texts: Sequence[str], side: str, rng: np.random.Generator
) -> str | None:
    """One side of a random held-out verse outside the groups of ``texts``; None if all are in."""
    groups = {verses.group_of[text] for text in texts}
    others = [v for v in verses.held_out if verses.group_of[v.sanskrit] not in groups]
    if not others:
        others = [v for v in verses.held_out if not {v.sanskrit, v.english}.intersection(texts)]
    if not others:
        return None
    verse = others[int(rng.integers(len(others)))]
    return verse.sanskrit if side == "sanskrit" else verse.english
