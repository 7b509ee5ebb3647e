"""The results of an evaluation as plain, serialisable values, and what each metric means."""

import math
from typing import Literal, Self

from pydantic import model_validator

from cft.recipe import Settings

Better = Literal["higher", "lower"] | None
CUTOFFS = (1, 3, 5)  # the k of recall@k
MAIN_METRIC = "mean/mrr"

_DIRECTIONS = {
    "sa_en": "Sanskrit → English",
    "en_sa": "English → Sanskrit",
    "mean": "Cross-lingual",
}
_LABELS: dict[str, tuple[str, Better]] = {
    **{
        f"{direction}/{metric}": (f"{title} {label}", "higher")
        for direction, title in _DIRECTIONS.items()
        for metric, label in [("mrr", "MRR"), *((f"recall_at_{k}", f"R@{k}") for k in CUTOFFS)]
    },
    "sts/spearman": ("STS Spearman", "higher"),
    "sts/pearson": ("STS Pearson", "higher"),
    "triplet/accuracy": ("Triplet accuracy", "higher"),
    "triplet/margin": ("Triplet margin", "higher"),
    "anisotropy/mean": ("Pairwise cosine, mean", "lower"),
    "anisotropy/std": ("Pairwise cosine, std", None),
    "anisotropy/min": ("Pairwise cosine, min", None),
    "anisotropy/max": ("Pairwise cosine, max", None),
    "uniformity": ("Uniformity", "lower"),
    "alignment": ("Alignment of pairs", None),  # lower is closer, and lowest when collapsed
}


def described(name: str) -> tuple[str, Better]:
    """Label of a metric and which way is better: ``"sts/pearson" -> ("STS Pearson", "higher")``.

    ``triplet/<category>_accuracy`` and ``..._margin`` are the triplet figures of one category.
    """
    if name in _LABELS:
        return _LABELS[name]
    section, _, rest = name.partition("/")
    category, _, metric = rest.rpartition("_")
    if section == "triplet" and category and metric in ("accuracy", "margin"):
        return f"Triplet {metric}, {category.replace('_', '-')}", "higher"
    return name, None


def ordered(names: set[str]) -> list[str]:
    """Metric names in the order of every table: retrieval, STS, triplets, geometry, others."""
    known = list(_LABELS)

    def place(name: str) -> tuple[int, str]:
        if name in _LABELS:
            return known.index(name) * 10, ""
        if name.startswith("triplet/"):
            return known.index("triplet/margin") * 10 + 1, name
        return len(known) * 10, name

    return sorted(names, key=place)


class Figure(Settings):
    """A value with its 95% bootstrap interval, in the unit of its metric."""

    value: float
    low: float
    high: float

    @model_validator(mode="after")
    def _finite_and_in_order(self) -> Self:
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            raise ValueError(f"a figure is finite, not {self.value} [{self.low}, {self.high}]")
        if self.low > self.high:
            raise ValueError(f"interval [{self.low}, {self.high}] is upside down")
        return self

    def overlaps(self, other: "Figure") -> bool:
        """Whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        return f"{self.value:z.3f} [{self.low:z.3f}, {self.high:z.3f}]"


class Evaluation(Settings):
    """One model on one evaluation set: figures by metric name, and how many items gave them.

    A metric whose items are absent or that is undefined (correlation with a constant) has no
    figure; ``counts`` says how many items there were, zero included.
    """

    model: str
    evalset: str = ""
    figures: dict[str, Figure]
    counts: dict[str, int]
    seconds: float = 0.0

    def metrics(self) -> dict[str, float]:
        """Flat metrics for a tracker: the value, ``<name>_low`` and ``<name>_high`` of each."""
        flat: dict[str, float] = {}
        for name, figure in self.figures.items():
            flat |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
        return flat
