"""Triplets as a stream of batches, so that a store is built without holding them all.

A batch names each of its distinct texts once and its rows by place in that list.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cft.text import ids_of_normalised, normalise
from cft.triplets.base import Triplets
from cft.triplets.tables import map_file, numbers, table_of

# Files of a prepared dataset.
STAGE_TEXTS = "texts.arrow"


@dataclass(frozen=True)
class TripletBatch:
    """Some rows of an anchor, a positive and K hard negatives.

    Attributes:
        ids_U: ids of the batch's distinct texts, ``int64``; two spellings of one text have one id.
        texts: those texts in their normal form, U strings.
        places_NC: for each row the places of anchor, positive and negatives in ``texts``; C is
            2 + K.
        kinds: names of the kinds of rows.
        kind_N: for each row the place of its kind in ``kinds``.
    """

    ids_U: np.ndarray
    texts: pa.StringArray
    places_NC: np.ndarray
    kinds: list[str]
    kind_N: np.ndarray

    def __len__(self) -> int:
        return len(self.places_NC)

    @classmethod
    def of_texts(
        cls, texts: list[str], places_NC: np.ndarray, kinds: list[str], kind_N: np.ndarray
    ) -> "TripletBatch":
        """A batch of texts as they were given."""
        normal = [normalise(text) for text in texts]
        return cls(
            ids_of_normalised(normal), pa.array(normal, pa.string()), places_NC, kinds, kind_N
        )


def batches_of(triplets: Triplets) -> Iterator[TripletBatch]:
    """Triplets in memory as one batch; none where there are no rows."""
    if not len(triplets):
        return
    place: dict[str, int] = {}
    columns = [triplets.anchor, triplets.positive, *zip(*triplets.negatives, strict=True)]
    places_NC = np.empty((len(triplets), len(columns)), dtype=np.int64)
    for number, column in enumerate(columns):
        places_NC[:, number] = [place.setdefault(text, len(place)) for text in column]
    kinds = pa.array(triplets.kind, pa.string()).dictionary_encode()
    yield TripletBatch.of_texts(
        list(place), places_NC, kinds.dictionary.to_pylist(), kinds.indices.to_numpy()
    )


def stage_batches(folder: Path, stage: str) -> Iterator[TripletBatch]:
    """One stage of a prepared folder as one batch, with the ids that stand there.

    Raises:
        CftError: a file is missing or not whole.
    """
    rows = table_of(map_file(folder / f"{stage}.arrow"), folder / f"{stage}.arrow")
    texts = table_of(map_file(folder / STAGE_TEXTS), folder / STAGE_TEXTS)
    width = rows.schema.field("negatives").type.list_size
    negatives = numbers(pa.chunked_array([c.values for c in rows["negatives"].chunks]))
    columns = [numbers(rows["anchor"]), numbers(rows["positive"])]
    ids_NC = np.column_stack([*columns, negatives.reshape(-1, width)])
    used_U, places = np.unique(ids_NC, return_inverse=True)
    all_ids = numbers(texts["id"])
    order = np.argsort(all_ids, kind="stable")
    at_U = order[np.searchsorted(all_ids, used_U, sorter=order)]
    # An id may have two spellings there; either has the same normal form.
    taken = pc.take(texts["text"], pa.array(at_U)).combine_chunks()
    kind = pc.dictionary_encode(rows["kind"].cast(pa.string())).combine_chunks()
    yield TripletBatch(
        used_U,
        pa.array([normalise(text) for text in taken.to_pylist()], pa.string()),
        places.reshape(ids_NC.shape),
        kind.dictionary.to_pylist(),
        kind.indices.to_numpy(),
    )
