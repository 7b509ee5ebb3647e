"""The results of an evaluation as plain, serialisable values, and what each metric means."""

import math
from typing import Literal, Self

from pydantic import model_validator

from cft.recipe import Settings

Better = Literal["higher", "lower"] | None
CUTOFFS = (1, 3, 5)  # the k of recall@k
MAIN_METRIC = "mean/mrr"
# What two encoders are judged by; p values are corrected for so many looks.
PRIMARY = (MAIN_METRIC, "sts/spearman", "triplet/accuracy", "separation/auc_roc")

_DIRECTIONS = {
    "sa_en": "Sanskrit → English",
    "en_sa": "English → Sanskrit",
    "mean": "Cross-lingual",
}
_CASES = {"cases_sa": "Query → verse", "cases_en": "Query → translation"}
_POOLS = {
    "sa_en": "English for Sanskrit queries",
    "en_sa": "Sanskrit for English queries",
    "texts": "all texts",
}
_LABELS: dict[str, tuple[str, Better]] = {
    **{
        f"{direction}/{metric}": (f"{title} {label}", "higher")
        for direction, title in _DIRECTIONS.items()
        for metric, label in [("mrr", "MRR"), *((f"recall_at_{k}", f"R@{k}") for k in CUTOFFS)]
    },
    **{
        f"{pool}/{metric}": (f"{title} {label}", "higher")
        for pool, title in _CASES.items()
        for metric, label in [("mrr", "MRR"), *((f"hit_at_{k}", f"hit@{k}") for k in CUTOFFS)]
    },
    "separation/similar_mean": ("Mean cosine of similar pairs", None),
    "separation/dissimilar_mean": ("Mean cosine of dissimilar pairs", None),
    "separation/discrimination": ("Discrimination", "higher"),
    "separation/auc_roc": ("AUC-ROC", "higher"),
    "sts/spearman": ("STS Spearman", "higher"),
    "sts/pearson": ("STS Pearson", "higher"),
    "triplet/accuracy": ("Triplet accuracy", "higher"),
    "triplet/margin": ("Triplet margin", "higher"),
    "anisotropy/mean": ("Pairwise cosine, mean", "lower"),
    "anisotropy/std": ("Pairwise cosine, std", None),
    "anisotropy/min": ("Pairwise cosine, min", None),
    "anisotropy/max": ("Pairwise cosine, max", None),
    "anisotropy/range": ("Pairwise cosine, range", None),
    "uniformity": ("Uniformity", "lower"),
    "alignment": ("Alignment of pairs", None),  # lower is closer, and lowest when collapsed
    **{f"hubness/{pool}": (f"Hubness, {title}", "lower") for pool, title in _POOLS.items()},
    # Nearer to zero is better: then length says nothing about what is found, or how well.
    **{
        f"length/{pool}_hubs": (f"Length and hubs, {title}", None) for pool, title in _POOLS.items()
    },
    **{
        f"length/{way}_rank": (f"Length and rank, {_DIRECTIONS[way]}", None)
        for way in ("sa_en", "en_sa")
    },
    "drift/cosine": ("Drift from the base", None),
    "drift/neighbours": ("Neighbours of the base lost", None),
}


def described(name: str) -> tuple[str, Better]:
    """Label of a metric and which way is better: ``"sts/pearson" -> ("STS Pearson", "higher")``.

    ``triplet/<category>_accuracy`` and ``..._margin`` are the triplet figures of one category, and
    ``sts/<languages>_spearman`` and ``..._pearson`` those of one pair of languages.
    """
    if name in _LABELS:
        return _LABELS[name]
    section, _, rest = name.partition("/")
    category, _, metric = rest.rpartition("_")
    if section == "triplet" and category and metric in ("accuracy", "margin"):
        return f"Triplet {metric}, {category.replace('_', '-')}", "higher"
    if section == "sts" and category and metric in ("spearman", "pearson"):
        return f"STS {metric.title()}, {category}", "higher"
    return name, None


def ordered(names: set[str]) -> list[str]:
    """Metric names in the order of every table: retrieval, STS, triplets, geometry, others."""
    known = list(_LABELS)

    def place(name: str) -> tuple[int, str]:
        if name in _LABELS:
            return known.index(name) * 10, ""
        for section, last in (("triplet/", "triplet/margin"), ("sts/", "sts/pearson")):
            if name.startswith(section):
                # Of one pair of languages the rank correlation first, as of them all.
                return known.index(last) * 10 + 1, name.replace("_spearman", "_.")
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
    """One model on one suite: figures by metric name, and how many items gave them.

    A metric whose items are absent or that is undefined (correlation with a constant) has no
    figure; ``counts`` says how many items there were, zero included. ``revision`` is the digest of
    the model's weights. ``contaminated`` says that the model was trained on texts of the suite, so
    that its figures flatter it.
    """

    model: str
    revision: str = ""
    suite: str = "held-out"
    evalset: str = ""
    contaminated: bool = False
    figures: dict[str, Figure]
    counts: dict[str, int]
    seconds: float = 0.0

    def metrics(self) -> dict[str, float]:
        """Flat metrics for a tracker: the value, ``<name>_low`` and ``<name>_high`` of each."""
        flat: dict[str, float] = {}
        for name, figure in self.figures.items():
            flat |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
        return flat
