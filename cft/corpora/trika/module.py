"""Read a Trika corpus from a Python module in the shape of the original system's, as literals.

``SIVA_SUTRA``, ``SIVA_SUTRA_EN``, ``SPANDA_KARIKA`` and ``SPANDA_KARIKA_EN`` map an id to a text,
``STS_PAIRS`` lists ``(id, id, score, label)`` and ``TRIPLETS`` lists ``(label, anchor id, positive
id, negative id, category)``. In these two an id that ends in ``_EN`` means the English side. The
functions that such a module has below its data are passed over: nothing is executed.
"""

import logging
from pathlib import Path
from typing import Any

from cft.corpora.base import VersePair
from cft.corpora.literals import read_literals
from cft.corpora.trika.corpus import (
    ENGLISH,
    LabelledTriplet,
    SimilarityPair,
    TrikaCorpus,
    both_sides,
)
from cft.errors import CftError
from cft.files import digest_file
from cft.text import normalise

log = logging.getLogger(__name__)

CATEGORIES = {"mono_sa": "mono"}  # the original's name of a category, and ours


def read_trika_module(path: Path) -> TrikaCorpus:
    """The corpus of a module; ids and scores stand as in the module, texts in their normal form.

    Raises:
        CftError: the file is missing, holds anything but data and functions, a name is missing or
            malformed, the two sides of a text differ in their ids, or an id names no verse.
    """
    path = Path(path)
    names = read_literals(path, skip_functions=True)
    verses = {
        "siva_sutra": _verses(path, names, "SIVA_SUTRA"),
        "spanda_karika": _verses(path, names, "SPANDA_KARIKA"),
    }
    both = verses["siva_sutra"].keys() & verses["spanda_karika"].keys()
    if both:
        raise CftError(
            f"{path}: SPANDA_KARIKA[{min(both)!r}]: SIVA_SUTRA has the same id; rename one"
        )
    texts = both_sides(verses)
    corpus = TrikaCorpus(
        name="trika_module",
        verses=verses,
        sts=_pairs(path, names, texts),
        triplets=_triplets(path, names, texts),
        source={path.name: digest_file(path)},
        annotations=f"as given in {path.name}",
    )
    log.info(
        "%s: %d sutras, %d karikas, %d graded pairs, %d triplets",
        path.name,
        len(verses["siva_sutra"]),
        len(verses["spanda_karika"]),
        len(corpus.sts),
        len(corpus.triplets),
    )
    return corpus


def _verses(path: Path, names: dict[str, Any], name: str) -> dict[str, VersePair]:
    sanskrit, english = _side(path, names, name), _side(path, names, name + ENGLISH)
    odd = sanskrit.keys() ^ english.keys()
    if odd:
        missing = name + ENGLISH if min(odd) in sanskrit else name
        raise CftError(f"{path}: {missing}: no entry {min(odd)!r}; give every verse both sides")
    return {
        verse_id: VersePair(text, english[verse_id], None, row)
        for row, (verse_id, text) in enumerate(sanskrit.items())
    }


def _side(path: Path, names: dict[str, Any], name: str) -> dict[str, str]:
    entries = _assigned(path, names, name, dict)
    texts = {}
    for verse_id, text in entries.items():
        place = f"{path}: {name}[{verse_id!r}]"
        if not isinstance(verse_id, str) or not isinstance(text, str):
            raise CftError(f"{place}: not a text by its id; give both as strings")
        if verse_id.endswith(ENGLISH):
            raise CftError(f"{place}: an id of a verse ends in {ENGLISH}; leave the ending away")
        texts[verse_id] = normalise(text)
        if not texts[verse_id]:
            raise CftError(f"{place}: empty text; fill it or remove the entry")
    return texts


def _pairs(path: Path, names: dict[str, Any], texts: dict[str, str]) -> list[SimilarityPair]:
    pairs = []
    for row, entry in enumerate(_assigned(path, names, "STS_PAIRS", list)):
        place = f"{path}: STS_PAIRS[{row}]"
        match entry:
            case (str(a), str(b), int() | float() as score, str(label)) if not isinstance(
                score, bool
            ):
                pairs.append(SimilarityPair(a, b, float(score), label))
            case _:
                raise CftError(f"{place}: not (id, id, score, label); mend the entry")
        if not 0 <= score <= 5:
            raise CftError(f"{place}: score {score} is not between 0 and 5; mend the score")
        _require_known(place, (a, b), texts)
    return pairs


def _triplets(path: Path, names: dict[str, Any], texts: dict[str, str]) -> list[LabelledTriplet]:
    triplets = []
    for row, entry in enumerate(_assigned(path, names, "TRIPLETS", list)):
        place = f"{path}: TRIPLETS[{row}]"
        match entry:
            case (str(label), str(anchor), str(positive), str(negative), str(category)) if category:
                category = CATEGORIES.get(category, category)
                triplets.append(LabelledTriplet(label, anchor, positive, negative, category))
            case _:
                raise CftError(
                    f"{place}: not (label, anchor id, positive id, negative id, category); "
                    "mend the entry"
                )
        _require_known(place, (anchor, positive, negative), texts)
    return triplets


def _require_known(place: str, ids: tuple[str, ...], texts: dict[str, str]) -> None:
    for one in ids:
        if one not in texts:
            raise CftError(f"{place}: no verse has the id {one!r}; mend the id or add the verse")


def _assigned(path: Path, names: dict[str, Any], name: str, kind: type) -> Any:
    if name not in names:
        raise CftError(f"{path}: {name} is not assigned; assign a {kind.__name__} to it")
    value = names[name]
    if isinstance(value, tuple) and kind is list:
        return value
    if not isinstance(value, kind):
        raise CftError(f"{path}: {name}: not a {kind.__name__}; assign a {kind.__name__} to it")
    return value
