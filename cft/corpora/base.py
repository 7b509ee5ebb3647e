"""The shapes every corpus is read into; the rest of the package knows no file format."""

from dataclasses import dataclass

# The first that is present is evaluated on; none is trained on.
HELD_OUT_SPLITS = ("test", "dev")


@dataclass(frozen=True, slots=True)
class VersePair:
    """One verse and its translation; both texts are in their normal form.

    Attributes:
        sanskrit: the verse.
        english: its translation.
        chapter: label of its chapter, theme or group; None where it is not known.
        row: 0-based row in its source split: for error messages, and the narrative order.
    """

    sanskrit: str
    english: str
    chapter: str | None
    row: int


@dataclass(frozen=True)
class ParallelCorpus:
    """A parallel corpus in the shape of the Itihasa.

    Attributes:
        name: name in manifests and error messages.
        splits: verse pairs by split, keys among ``train``, ``dev`` and ``test``. Rows stand in
            narrative order within a chapter; where chapters are not known, neighbouring rows are
            taken for neighbours in the narrative.
        source: what it came from: a file's name and its digest, or the version of a generator.
        dropped: rows dropped by each filter.
    """

    name: str
    splits: dict[str, list[VersePair]]
    source: dict[str, str]
    dropped: dict[str, int]


@dataclass(frozen=True, slots=True)
class GradedPair:
    """Two texts and how close their meanings are: 0 unrelated, 5 the same."""

    a: str
    b: str
    score: float


@dataclass(frozen=True)
class VerseCorpus:
    """A small domain corpus in the shape of the Vijnanabhairava Tantra (VBT).

    Attributes:
        name: name in manifests and error messages.
        verses: its verses; the chapter is the label of a theme, where themes are labelled.
        similarity_pairs: two texts of like meaning: verses, translations or free text.
        dissimilarity_pairs: two texts of unlike meaning.
        graded_pairs: pairs with a score from 0 to 5; empty where the source has none.
        retrieval_cases: a query and the 0-based indices of the verses that answer it.
        source: what it came from: a file's name and its digest, or the version of a generator.
        dropped: entries dropped by each filter.
    """

    name: str
    verses: list[VersePair]
    similarity_pairs: list[tuple[str, str]]
    dissimilarity_pairs: list[tuple[str, str]]
    graded_pairs: list[GradedPair]
    retrieval_cases: list[tuple[str, list[int]]]
    source: dict[str, str]
    dropped: dict[str, int]
