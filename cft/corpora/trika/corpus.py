"""The one shape of a Trika corpus, embedded or read from a module, and its evaluation set."""

from dataclasses import dataclass
from functools import cached_property

from cft.corpora.base import VersePair
from cft.corpora.evalset import EvalPair, EvalSet, EvalSts, EvalTriplet
from cft.text import text_id

ENGLISH = "_EN"  # ends the id of the English side of a verse


@dataclass(frozen=True, slots=True)
class SimilarityPair:
    """Two texts by id, how close their meanings are (0 unrelated to 5 the same), and why."""

    a_id: str
    b_id: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class LabelledTriplet:
    """Texts by id: the anchor means what the positive means rather than what the negative does."""

    label: str
    anchor_id: str
    positive_id: str
    negative_id: str
    category: str


@dataclass(frozen=True)
class TrikaCorpus:
    """Held-out verses with graded pairs and triplets over them.

    Attributes:
        name: name in tables.
        verses: for each text, such as ``spanda_karika``, its verses by id in the text's order.
        sts: graded pairs.
        triplets: triplets; categories are ``mono``, ``cross_lingual`` and ``hard``.
        source: what it came from: file names and their digests.
        annotations: who made the graded pairs and the triplets.
    """

    name: str
    verses: dict[str, dict[str, VersePair]]
    sts: list[SimilarityPair]
    triplets: list[LabelledTriplet]
    source: dict[str, str]
    annotations: str

    @cached_property
    def texts(self) -> dict[str, str]:
        """Every text by id; the id of an English side ends in ``_EN``."""
        return both_sides(self.verses)

    def text_of(self, verse_id: str) -> str:
        """Name of the text that a verse, or its English side, belongs to."""
        verse_id = verse_id.removesuffix(ENGLISH)
        return next(name for name, verses in self.verses.items() if verse_id in verses)

    def to_evalset(self) -> EvalSet:
        """The evaluation set: retrieval pairs, graded pairs and triplets.

        A verse whose Sanskrit or English repeats an earlier verse is left out of the retrieval
        pool, where it would be a second right answer. ``sources["verses"][n]`` says the id and
        the text of ``pairs[n]``; ``sources["repeats"]`` names what was left out, and of what it
        is a repetition.
        """
        pairs: list[EvalPair] = []
        places: list[dict[str, str]] = []
        repeats: dict[str, str] = {}
        first: dict[int, str] = {}
        for name, verses in self.verses.items():
            for verse_id, verse in verses.items():
                sides = text_id(verse.sanskrit), text_id(verse.english)
                known = [first[side] for side in sides if side in first]
                if known:
                    repeats[verse_id] = known[0]
                    continue
                first |= dict.fromkeys(sides, verse_id)
                pairs.append(EvalPair(sanskrit=verse.sanskrit, english=verse.english))
                places.append({"id": verse_id, "text": name})
        texts = self.texts
        return EvalSet(
            name=self.name,
            pairs=pairs,
            sts=[
                EvalSts(a=texts[pair.a_id], b=texts[pair.b_id], score=pair.score)
                for pair in self.sts
            ],
            triplets=[
                EvalTriplet(
                    anchor=texts[one.anchor_id],
                    positive=texts[one.positive_id],
                    negative=texts[one.negative_id],
                    category=one.category,
                )
                for one in self.triplets
            ],
            sources={
                "files": self.source,
                "annotations": self.annotations,
                "verses": places,
                "repeats": repeats,
            },
        )


def both_sides(verses: dict[str, dict[str, VersePair]]) -> dict[str, str]:
    """Every text of the verses by id, the Sanskrit of a verse before its English."""
    texts = {}
    for by_id in verses.values():
        for verse_id, verse in by_id.items():
            texts[verse_id] = verse.sanskrit
            texts[verse_id + ENGLISH] = verse.english
    return texts
