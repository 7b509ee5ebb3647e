"""The first pass of building a store: distinct texts, rows of ids and known positives, on disk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cft.errors import CftError
from cft.triplets.partitions import Partitions, first_of_runs
from cft.triplets.stream import TripletBatch

DOCUMENT, QUERY = 1, 2  # bits: what a text is in some row
_TEXTS_AT_ONCE = 1 << 14
_NUMBERS_AT_ONCE = 1 << 20

TEXT_ROWS = pa.schema([("id", pa.int64()), ("text", pa.string()), ("roles", pa.uint8())])
_PAIR_ROWS = pa.schema([("anchor", pa.int64()), ("positive", pa.int64())])


class Gathered:
    """What batches of triplets hold, gathered in bounded memory.

    Args:
        scratch: an empty folder.
        budget: bytes of texts, and of pairs, that are held in memory.

    Attributes:
        rows: triplets.
        kinds: rows of each kind, in the order in which the kinds came up.
        width: anchor, positive and hard negatives of a row, C.
    """

    def __init__(self, scratch: Path, budget: int) -> None:
        for name in ("texts", "pairs"):
            (scratch / name).mkdir()
        self._texts = Partitions(scratch / "texts", TEXT_ROWS, _distinct_texts, budget)
        self._pairs = Partitions(scratch / "pairs", _PAIR_ROWS, _distinct_pairs, budget)
        self._ids_path, self._kinds_path = scratch / "ids.int64", scratch / "kinds.int32"
        self._kind_codes: dict[str, int] = {}
        self.rows = 0
        self.kinds: dict[str, int] = {}
        self.width = 0

    @property
    def spilled(self) -> bool:
        """Whether the texts did not fit the budget."""
        return self._texts.spilled

    def add(self, batch: TripletBatch) -> None:
        """Take in one batch.

        Raises:
            CftError: two different texts share an id, or the batch has another number of hard
                negatives than those before it.
        """
        if not len(batch):
            return
        places_NC = batch.places_NC
        if self.width not in (0, places_NC.shape[1]):
            raise CftError(
                f"triplets: rows with {self.width - 2} and with {places_NC.shape[1] - 2} hard "
                "negatives; give every row the same number"
            )
        self.width = places_NC.shape[1]
        roles_U = np.zeros(len(batch.ids_U), dtype=np.uint8)
        roles_U[places_NC[:, 1:].ravel()] = DOCUMENT
        roles_U[places_NC[:, 0]] |= QUERY
        texts = pa.RecordBatch.from_arrays(
            [pa.array(batch.ids_U), batch.texts, pa.array(roles_U)], schema=TEXT_ROWS
        )
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            self._texts.append(texts.slice(start, _TEXTS_AT_ONCE))
        ids_NC = batch.ids_U[places_NC]
        pairs = [pa.array(ids_NC[:, 0].copy()), pa.array(ids_NC[:, 1].copy())]
        self._pairs.append(pa.RecordBatch.from_arrays(pairs, schema=_PAIR_ROWS))
        with self._ids_path.open("ab") as file:
            ids_NC.astype(np.int64, copy=False).tofile(file)
        self._add_kinds(batch)
        self.rows += len(batch)

    def texts(self) -> Iterator[pa.RecordBatch]:
        """Every distinct text with its id and roles, by id: batches of ``TEXT_ROWS``; once."""
        return self._texts.parts()

    def positives(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every distinct (anchor, positive), ``int64 [P]`` each, sorted by both; once.

        No anchor stands in two parts.
        """
        for part in self._pairs.parts():
            yield part.column(0).to_numpy(), part.column(1).to_numpy()

    def triplets(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids ``int64 [N, C]`` and kinds ``int32 [N]`` (places in ``kinds``) in the order given."""
        most = max(1, _NUMBERS_AT_ONCE // self.width)
        with self._ids_path.open("rb") as ids, self._kinds_path.open("rb") as kinds:
            while len(kind_N := np.fromfile(kinds, np.int32, most)):
                ids_NC = np.fromfile(ids, np.int64, len(kind_N) * self.width)
                yield ids_NC.reshape(-1, self.width), kind_N

    def _add_kinds(self, batch: TripletBatch) -> None:
        codes = [self._kind_codes.setdefault(name, len(self._kind_codes)) for name in batch.kinds]
        with self._kinds_path.open("ab") as file:
            np.array(codes, dtype=np.int32)[batch.kind_N].tofile(file)
        counts = np.bincount(batch.kind_N, minlength=len(batch.kinds)).tolist()
        for name, count in zip(batch.kinds, counts, strict=True):
            self.kinds[name] = self.kinds.get(name, 0) + count


def _distinct_texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """One row for each id, with the roles of all; equal ids must mean equal texts."""
    ids = batch.column(0).to_numpy()
    first = first_of_runs(ids)
    again = np.flatnonzero(~first)
    if not len(again):
        return batch
    text = batch.column(1)
    one, other = pc.take(text, pa.array(again - 1)), pc.take(text, pa.array(again))
    differ = np.flatnonzero(pc.not_equal(one, other).to_numpy(zero_copy_only=False))
    if len(differ):
        at = int(differ[0])
        raise CftError(
            f"text id {ids[again[at]]}: shared by {one[at].as_py()!r} and {other[at].as_py()!r}; "
            "change one of the two texts by a character"
        )
    kept = np.flatnonzero(first)
    roles = np.bitwise_or.reduceat(batch.column(2).to_numpy(), kept)
    places = pa.array(kept)
    return pa.RecordBatch.from_arrays(
        [pa.array(ids[kept]), pc.take(text, places), pa.array(roles)], schema=TEXT_ROWS
    )


def _distinct_pairs(batch: pa.RecordBatch) -> pa.RecordBatch:
    anchor, positive = (column.to_numpy() for column in batch.columns)
    order = np.lexsort((positive, anchor))
    anchor, positive = anchor[order], positive[order]
    first = first_of_runs(anchor, positive)
    return pa.RecordBatch.from_arrays(
        [pa.array(anchor[first]), pa.array(positive[first])], schema=_PAIR_ROWS
    )
