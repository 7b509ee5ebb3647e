"""The leak guard: no text of an evaluation set stands in any training column."""

from collections.abc import Mapping

import numpy as np

from cft.corpora.evalset import EvalSet
from cft.errors import CftError
from cft.text import text_ids

_NAMED = 3  # leaking rows that the message names


def require_no_leak(evalset: EvalSet, columns: Mapping[str, np.ndarray]) -> None:
    """Compare the id of every training text with the id of every evaluation text.

    Args:
        evalset: the held-out texts.
        columns: name of a training column, such as ``stage1.anchor``, and its text ids,
            ``int64 [N]`` or ``[N, K]``; row n of a column is row n of its training set.

    Raises:
        CftError: naming the first rows and how many leak in all.
    """
    places, texts = [], []
    for place, text in evalset.labelled_texts():
        places.append(place)
        texts.append(text)
    ids_E = text_ids(texts)
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
    if total:
        raise CftError(
            f"evaluation set {evalset.name}: {total} training rows hold its texts "
            f"({', '.join(named)}{', ...' if total > len(named) else ''}); "
            "remove these texts from the training data or hold out others"
        )
