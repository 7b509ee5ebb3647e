"""The leak guard: no text of an evaluation set stands in any training column.

Texts are compared by their wording, since the verse that is held out bare may be trained on with
its number, and by ids of wordings, which are not the ids that stores keep.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from cft.corpora.evalset import EvalSet
from cft.corpora.literals import read_literals
from cft.corpora.trika import load_trika
from cft.errors import CftError
from cft.files import digest_file, digest_json
from cft.text import wording_ids

_NAMED = 3  # leaking rows that are named for each evaluation set
TRIKA = "trika"


@dataclass(frozen=True)
class GuardedSet:
    """An evaluation set as the guard sees it.

    Attributes:
        name: as it is called in messages.
        texts: every text with its place in the set, such as ``pairs[3].english``.
        digest: of the file that it was read from; None where the data make it themselves.
    """

    name: str
    texts: list[tuple[str, str]]
    digest: str | None = None

    @classmethod
    def of(cls, evalset: EvalSet) -> "GuardedSet":
        """The set that the data themselves hold out."""
        return cls(evalset.name, list(evalset.labelled_texts()))


@dataclass(frozen=True)
class Leaks:
    """Training rows that hold texts of one evaluation set.

    Attributes:
        evalset: name of the set.
        rows: how many training rows, over all columns.
        named: the first of them, such as ``stage1.anchor row 5 is pairs[3].sanskrit``.
    """

    evalset: str
    rows: int
    named: list[str]

    def __str__(self) -> str:
        more = ", ..." if self.rows > len(self.named) else ""
        return (
            f"evaluation set {self.evalset}: {self.rows} training rows hold its texts "
            f"({', '.join(self.named)}{more})"
        )


def guarded_sets(names: Sequence[str]) -> list[GuardedSet]:
    """The further evaluation sets that a recipe names: ``trika``, JSON files, Python modules.

    Of a file that is no :class:`EvalSet` every string is guarded, whatever its layout: one that
    is no text equals no training text either, but a text that were passed over could leak. A
    module is read as literals and never executed.

    Raises:
        CftError: a file is missing, is not JSON, or holds no text.
    """
    return [_trika() if name == TRIKA else _read(Path(name)) for name in names]


def find_leaks(sets: Iterable[GuardedSet], columns: Mapping[str, np.ndarray]) -> list[Leaks]:
    """Compare the wording of every training text with that of every evaluation text.

    Args:
        sets: the held-out texts.
        columns: name of a training column, such as ``stage1.anchor``, and the ids of its wordings
            (:func:`cft.text.wording_ids`), ``int64 [N]`` or ``[N, K]``; row n of a column is row n
            of its training set.

    Returns:
        One entry for each set that leaks; a set of which no text is trained on has none.
    """
    found = (_leaks_of(one, columns) for one in sets)
    return [one for one in found if one.rows]


def require_no_leak(
    sets: Iterable[GuardedSet], columns: Mapping[str, np.ndarray], allow_leak: bool = False
) -> list[Leaks]:
    """Stop a run that trains on what it is evaluated on; arguments as of :func:`find_leaks`.

    Returns:
        The leaks, where they are allowed; else nothing.

    Raises:
        CftError: naming the first rows and how many leak in all.
    """
    leaks = find_leaks(sets, columns)
    if leaks and not allow_leak:
        raise CftError(
            f"{'; '.join(map(str, leaks))}; remove these texts from the training data, hold out "
            "others, or go on with --allow-leak, which marks the result as contaminated"
        )
    return leaks


class Wordings:
    """What the text ids of training rows are to the guard, each text's wording made once.

    Args:
        texts: U texts.
        ids_U: their text ids, ``int64``; every id that is asked for is among them.
    """

    def __init__(self, texts: Iterable[str], ids_U: np.ndarray) -> None:
        self._order_U = np.argsort(ids_U, kind="stable")
        self._ids_U = ids_U[self._order_U]
        self._wordings_U = wording_ids(texts)[self._order_U]

    def of(self, ids: np.ndarray) -> np.ndarray:
        """Ids of wordings, in an array of the same shape."""
        found: np.ndarray = self._wordings_U[np.searchsorted(self._ids_U, ids)]
        return found


def _leaks_of(guarded: GuardedSet, columns: Mapping[str, np.ndarray]) -> Leaks:
    places = [place for place, _ in guarded.texts]
    ids_E = wording_ids(text for _, text in guarded.texts)
    order_E = np.argsort(ids_E, kind="stable")
    sorted_E = ids_E[order_E]
    named: list[str] = []
    total = 0
    for name, ids in columns.items():
        leaks = np.isin(ids, sorted_E)
        rows = np.flatnonzero(leaks.any(axis=tuple(range(1, ids.ndim))))
        total += len(rows)
        for row in rows[: _NAMED - len(named)].tolist():
            cell = np.atleast_1d(ids[row])
            leaked = cell[np.isin(cell, sorted_E)][0]
            place = places[order_E[np.searchsorted(sorted_E, leaked)]]
            named.append(f"{name} row {row} is {place}")
    return Leaks(guarded.name, total, named)


def _trika() -> GuardedSet:
    corpus = load_trika()
    return GuardedSet(TRIKA, list(corpus.texts.items()), digest_json(corpus.source))


def _read(path: Path) -> GuardedSet:
    try:
        if path.suffix == ".py":
            value: Any = read_literals(path, skip_functions=True)
        else:
            value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CftError(
            f"{path}: no such evaluation set ({error.strerror}); name a JSON file or {TRIKA}"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CftError(f"{path}: not valid JSON in UTF-8 ({error}); mend the file") from None
    try:
        texts = list(EvalSet.model_validate(value).labelled_texts())
    except ValidationError:
        texts = [(place.removeprefix("."), text) for place, text in _strings(value, "")]
    if not texts:
        raise CftError(f"{path}: holds no text; name an evaluation set")
    return GuardedSet(path.name, texts, digest_file(path))


def _strings(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if value.strip():
            yield place, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _strings(entry, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            yield from _strings(entry, f"{place}[{number}]")
