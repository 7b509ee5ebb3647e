"""The synthetic verse corpus: themes of seven verses and pairs graded by meaning."""

from itertools import combinations
from random import Random

from cft.corpora.base import GradedPair, VerseCorpus, VersePair

from .contemplation import PATTERNS, Meaning, concepts, draw_meaning, express, gerund, score, vary
from .verse import GENERATOR_VERSION, Verse

# How each verse of a theme differs from the theme's first: from a paraphrase to a verse that
# shares the theme alone.
_CHANGES: tuple[tuple[str, ...], ...] = (
    (),
    (),
    ("manner",),
    ("place", "agent"),
    ("fruit", "manner"),
    ("act", "place", "agent"),
    ("act", "place", "manner", "fruit", "agent"),
)
VERSES_PER_THEME = len(_CHANGES)
_WITHIN_PER_THEME = 14
_ACROSS_PER_BAND = 80
_BANDS = ((0.0, 0.5), (0.5, 1.0), (1.0, 1.5), (1.5, 2.5), (2.5, 5.0))
_SIMILAR = 3.75  # least score of a similarity pair
_SIMILAR_PER_THEME = 3
_DISSIMILAR = 0.5  # largest score of a dissimilarity pair
_DISSIMILAR_COUNT = 48

Graded = tuple[int, int, float]  # two verses and their score


def compose(seed: int = 42) -> list[tuple[Meaning, Verse]]:
    """Meaning and verse, theme by theme; no text occurs twice."""
    rng = Random(f"verses {seed}")
    seen: set[str] = set()
    composed: list[tuple[Meaning, Verse]] = []
    for focus in concepts("focus"):
        core = draw_meaning(rng, focus)
        patterns = rng.sample(PATTERNS, len(PATTERNS))
        for at, slots in enumerate(_CHANGES):
            while True:
                meaning = vary(rng, core, slots)
                # Neighbours differ in wording, the paraphrase above all.
                verse = express(rng, meaning, patterns[at % len(patterns)], at)
                texts = {verse.sanskrit, verse.english}
                if not texts & seen:
                    break
            seen |= texts
            composed.append((meaning, verse))
    return composed


def verses(seed: int = 42) -> VerseCorpus:
    """The corpus: 168 verses in 24 themes, deterministic by ``seed``.

    Graded pairs score from 0 to 5 by the rule of `contemplation`; half join two Sanskrit texts,
    the others a Sanskrit and an English or two English ones.
    """
    composed = compose(seed)
    rng = Random(f"pairs {seed}")
    scored = [
        (a, b, score(composed[a][0], composed[b][0]))
        for a, b in combinations(range(len(composed)), 2)
    ]
    within = [pair for pair in scored if _theme(pair[0]) == _theme(pair[1])]
    across = [pair for pair in scored if _theme(pair[0]) != _theme(pair[1])]
    pairs = [
        VersePair(verse.sanskrit, verse.english, meaning["focus"].name, row)
        for row, (meaning, verse) in enumerate(composed)
    ]
    return VerseCorpus(
        name="synthetic-verses",
        verses=pairs,
        similarity_pairs=_similar(rng, pairs, within),
        dissimilarity_pairs=[
            _texts(rng, pairs, pair)
            for pair in rng.sample([p for p in across if p[2] <= _DISSIMILAR], _DISSIMILAR_COUNT)
        ],
        graded_pairs=[
            GradedPair(*_texts(rng, pairs, pair), pair[2]) for pair in _graded(rng, within, across)
        ],
        retrieval_cases=_retrieval(composed),
        source={"generator": GENERATOR_VERSION, "seed": str(seed)},
        dropped={},
    )


def _theme(row: int) -> int:
    return row // VERSES_PER_THEME


def _graded(rng: Random, within: list[Graded], across: list[Graded]) -> list[Graded]:
    """Most pairs of every theme, and as many pairs across themes from each band of scores."""
    chosen: list[Graded] = []
    for theme in sorted({_theme(a) for a, _, _ in within}):
        chosen += rng.sample([p for p in within if _theme(p[0]) == theme], _WITHIN_PER_THEME)
    for low, high in _BANDS:
        band = [pair for pair in across if low <= pair[2] < high]
        chosen += rng.sample(band, min(_ACROSS_PER_BAND, len(band)))
    return chosen


def _similar(rng: Random, pairs: list[VersePair], within: list[Graded]) -> list[tuple[str, str]]:
    """The closest pairs of every theme, the paraphrase first."""
    chosen: list[tuple[str, str]] = []
    for theme in sorted({_theme(a) for a, _, _ in within}):
        close = [p for p in within if _theme(p[0]) == theme and p[2] >= _SIMILAR]
        close.sort(key=lambda pair: -pair[2])
        chosen += [_texts(rng, pairs, pair) for pair in close[:_SIMILAR_PER_THEME]]
    return chosen


def _texts(rng: Random, pairs: list[VersePair], pair: Graded) -> tuple[str, str]:
    """The two texts: Sanskrit both, Sanskrit and English, or English both."""
    a, b = pairs[pair[0]], pairs[pair[1]]
    draw = rng.random()
    if draw < 0.5:
        return a.sanskrit, b.sanskrit
    return (a.sanskrit, b.english) if draw < 0.85 else (a.english, b.english)


def _retrieval(composed: list[tuple[Meaning, Verse]]) -> list[tuple[str, list[int]]]:
    """For every theme a query about its core practice, answered by the verses that teach it."""
    cases = []
    for start in range(0, len(composed), VERSES_PER_THEME):
        core = composed[start][0]
        answers = [
            row
            for row, (meaning, _) in enumerate(composed)
            if all(meaning[slot].name == core[slot].name for slot in ("focus", "act"))
        ]
        cases.append((gerund(core["focus"], core["act"]), answers))
    return cases
