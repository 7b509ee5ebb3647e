"""The corpus that comes with the package, read from tab-separated files beside this module."""

import csv
from importlib import resources

from cft.corpora.base import VersePair
from cft.corpora.trika.corpus import LabelledTriplet, SimilarityPair, TrikaCorpus
from cft.files import digest_file

TEXTS = ("siva_sutra", "spanda_karika")
ANNOTATIONS = "English renderings, scores and triplets are the project's own, model-assisted"


def load_trika() -> TrikaCorpus:
    """The embedded corpus: 77 sutras and 53 verses with English, graded pairs and triplets."""
    return TrikaCorpus(
        name="trika",
        verses={
            name: {
                entry["id"]: VersePair(entry["sanskrit"], entry["english"], entry["chapter"], row)
                for row, entry in enumerate(_rows(name))
            }
            for name in TEXTS
        },
        sts=[
            SimilarityPair(entry["a"], entry["b"], float(entry["score"]), entry["reason"])
            for entry in _rows("similarity")
        ],
        triplets=[
            LabelledTriplet(
                entry["label"],
                entry["anchor"],
                entry["positive"],
                entry["negative"],
                entry["category"],
            )
            for entry in _rows("triplets")
        ],
        source=_digests(),
        annotations=ANNOTATIONS,
    )


def _rows(name: str) -> list[dict[str, str]]:
    file = resources.files(__package__) / "data" / f"{name}.tsv"
    lines = file.read_text(encoding="utf-8").splitlines()
    # English has quotation marks that quote nothing, and no field holds a tab.
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _digests() -> dict[str, str]:
    folder = resources.files(__package__) / "data"
    with resources.as_file(folder) as path:
        return {
            file.name: digest_file(file)
            for file in (path / f"{name}.tsv" for name in (*TEXTS, "similarity", "triplets"))
        }
