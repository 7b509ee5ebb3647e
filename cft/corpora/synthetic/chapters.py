"""The synthetic epic: chapters of verses, parted into splits by whole chapters."""

from random import Random

from cft.corpora.base import ParallelCorpus, VersePair

from .narration import Narrator, draw_cast
from .patterns import PATTERNS
from .scenes import SCENES
from .verse import GENERATOR_VERSION, Verse

CHAPTERS = 224
VERSES_PER_CHAPTER = (18, 30)
HELD_OUT_SHARES = {"dev": 0.07, "test": 0.08}
SANSKRIT_WORDS = (6, 14)
ENGLISH_WORDS = (8, 25)


def tell(seed: int = 42) -> list[tuple[str, list[Verse]]]:
    """Labelled chapters with their verses, structure included; no text occurs twice.

    Chapters stand in the order of the epic; the label is a number and the theme.
    """
    rng = Random(seed)
    seen: set[str] = set()
    told = []
    for number in range(1, CHAPTERS + 1):
        scene = SCENES[(number - 1) % len(SCENES)]
        narrator = Narrator(rng, draw_cast(rng, scene))
        count = rng.randint(*VERSES_PER_CHAPTER)
        told.append((f"{number:03d} {scene.name}", _chapter(narrator, count, seen)))
    return told


def epic(seed: int = 42) -> ParallelCorpus:
    """The corpus: train, dev and test by whole chapters, deterministic by ``seed``.

    Every Sanskrit and every English text is distinct over all splits; a chapter keeps its actors,
    places and things, and its rows stand in narrative order.
    """
    told = tell(seed)
    order = list(range(len(told)))
    Random(f"splits {seed}").shuffle(order)
    split_of: dict[int, str] = {}
    start = 0
    for split, share in HELD_OUT_SHARES.items():
        count = round(share * len(told))
        split_of |= dict.fromkeys(order[start : start + count], split)
        start += count
    splits: dict[str, list[VersePair]] = {"train": [], "dev": [], "test": []}
    for at, (label, verses) in enumerate(told):
        rows = splits[split_of.get(at, "train")]
        for verse in verses:
            rows.append(VersePair(verse.sanskrit, verse.english, label, len(rows)))
    return ParallelCorpus(
        name="synthetic-epic",
        splits=splits,
        source={"generator": GENERATOR_VERSION, "seed": str(seed)},
        dropped={},
    )


def _chapter(narrator: Narrator, count: int, seen: set[str]) -> list[Verse]:
    patterns, weights = zip(*PATTERNS, strict=True)
    verses: list[Verse] = []
    while len(verses) < count:
        tense = "imperfect" if narrator.rng.random() < 0.7 else "present"
        verse = narrator.rng.choices(patterns, weights)[0](narrator, tense)
        if verse is None or not _within_bounds(verse):
            continue
        # A verb does not open two verses running.
        if verses and verses[-1].clauses[0].verb is verse.clauses[0].verb:
            continue
        texts = {verse.sanskrit, verse.english}
        if texts & seen:
            continue
        seen |= texts
        verses.append(verse)
    return verses


def _within_bounds(verse: Verse) -> bool:
    least, most = SANSKRIT_WORDS
    if not least <= len(verse.words) <= most:
        return False
    least, most = ENGLISH_WORDS
    return least <= len(verse.english.split()) <= most
