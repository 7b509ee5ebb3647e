"""How hard the hard negatives are: mean similarity of anchors to three kinds of text.

To the positive, to the row's hard negatives, and to the positives of other rows of its kind, which
are what a batch offers anyway. Hard negatives that are no nearer than those add nothing to a large
batch. The figures are those of one encoder on a sample of rows; its text contract says which
prompts anchors and documents take.

Suffixes: N sampled rows, K hard negatives, M rows of one kind, D dimensions.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cft.errors import CftError
from cft.files import write_json
from cft.mining.dataset import Dataset, read_json
from cft.text import text_ids
from cft.triplets.base import Triplets

SIMILARITY_FILE = "similarity.json"
SAMPLE_ROWS = 256
KINDS_OF_TEXT = ("positive", "hard_negative", "random")
_SHARE = 0.1  # of the way from random texts to the positive: nearer counts as harder


class TextEncoder(Protocol):
    """Unit vectors of texts under a contract, such as :class:`cft.model.encoder.Encoder`."""

    contract: Any

    def encode(self, texts: Sequence[str], *, prompt: str | None = None) -> np.ndarray: ...


def measure(triplets: Triplets, encoder: TextEncoder) -> dict[str, Any]:
    """Similarities of a sample of triplets, over all and by kind.

    Returns:
        ``positive``, ``hard_negative`` and ``random``, each with ``mean``, ``std`` and number of
        ``pairs`` (None where there is no pair); ``hardness``, how far the hard negatives lie on
        the way from random texts (0) to the positive (1), None where these two do not differ;
        ``verdict``, the same in words; ``kinds``, all of this for each kind of row.

    Raises:
        CftError: a vector is not finite.
    """
    flat = [text for row in triplets.negatives for text in row]
    contract = encoder.contract
    anchor_ND = _encoded(encoder, triplets.anchor, contract.query_prompt)
    document_XD = _encoded(encoder, [*triplets.positive, *flat], contract.document_prompt)
    rows = len(triplets)
    positive_ND = document_XD[:rows]
    negative_NKD = document_XD[rows:].reshape(rows, triplets.num_negatives, -1)
    positive_N = np.einsum("nd,nd->n", anchor_ND, positive_ND)
    hard_NK = np.einsum("nd,nkd->nk", anchor_ND, negative_NKD)
    kind_N = np.array(triplets.kind)
    random_NN = anchor_ND @ positive_ND.T
    random_NN[_unfit(triplets, kind_N)] = np.nan
    whole = _figures(positive_N, hard_NK, random_NN)
    return whole | {
        "kinds": {
            one: _figures(positive_N[own_N], hard_NK[own_N], random_NN[own_N])
            for one in sorted(set(triplets.kind))
            for own_N in [kind_N == one]
        }
    }


def similarities_of(
    dataset: Dataset, encoder: TextEncoder, identity: dict[str, Any], rows: int, seed: int
) -> dict[str, Any]:
    """Similarities of a seeded sample of every part of a dataset, and which encoder gave them."""
    parts = {part.name: measure(part.sample(rows, seed), encoder) for part in dataset.parts}
    return {"encoder": identity, "sample_rows": rows, "seed": seed, "parts": parts}


def saved_similarities(folder: Path) -> list[dict[str, Any]]:
    """What was measured of a dataset before, one entry an encoder and sample.

    Raises:
        CftError: the file is there but is not such a list.
    """
    found = read_json(folder / SIMILARITY_FILE)
    entries = [] if found is None else found
    if not (
        isinstance(entries, list) and all(isinstance(e, dict) and "parts" in e for e in entries)
    ):
        raise CftError(f"{folder / SIMILARITY_FILE}: not a list of figures; remove the file")
    return entries


def save_similarities(folder: Path, entry: dict[str, Any]) -> None:
    """Add an entry to the folder's file, in place of one of the same encoder and sample."""
    same = ("encoder", "sample_rows", "seed")
    others = [
        one
        for one in saved_similarities(folder)
        if any(one.get(name) != entry[name] for name in same)
    ]
    write_json(folder / SIMILARITY_FILE, [*others, entry])


def metrics_of(figures: dict[str, Any]) -> dict[str, float]:
    """The means of one part as metrics: ``data/similarity_positive`` and so on."""
    return {
        f"data/similarity_{name}": figures[name]["mean"]
        for name in KINDS_OF_TEXT
        if figures[name] is not None
    }


def _encoded(encoder: TextEncoder, texts: Sequence[str], prompt: str) -> np.ndarray:
    vector_XD = np.asarray(encoder.encode(texts, prompt=prompt), dtype=np.float32)
    if not np.isfinite(vector_XD).all():
        raise CftError(
            "encoder: vectors that are NaN or infinite; check the checkpoint and its number format"
        )
    return vector_XD


def _unfit(triplets: Triplets, kind_N: np.ndarray) -> np.ndarray:
    """Pairs of rows ``bool [N, N]`` whose second positive is no random text for the first anchor:
    of another kind, or known to belong to the anchor."""
    anchor_N, positive_N = text_ids(triplets.anchor), text_ids(triplets.positive)
    unfit_NN = (kind_N[:, None] != kind_N) | (anchor_N[:, None] == positive_N)
    own = set(zip(anchor_N.tolist(), positive_N.tolist(), strict=True))
    own |= {(b, a) for a, b in own}
    column: dict[int, list[int]] = {}
    for place, one in enumerate(positive_N.tolist()):
        column.setdefault(one, []).append(place)
    row: dict[int, list[int]] = {}
    for place, one in enumerate(anchor_N.tolist()):
        row.setdefault(one, []).append(place)
    for a, b in own:
        if a in row and b in column:
            unfit_NN[np.ix_(row[a], column[b])] = True
    return unfit_NN


def _figures(positive_M: np.ndarray, hard_MK: np.ndarray, random_MN: np.ndarray) -> dict[str, Any]:
    means = {
        "positive": _moments(positive_M),
        "hard_negative": _moments(hard_MK),
        "random": _moments(random_MN),
    }
    counted_M = np.isfinite(random_MN).any(axis=1)
    if not counted_M.any():
        return means | {"hardness": None, "verdict": "too few rows to compare with random texts"}
    random_M = np.nanmean(random_MN[counted_M], axis=1)
    gap_M = positive_M[counted_M] - random_M
    excess_M = hard_MK[counted_M].mean(axis=1) - random_M
    if gap_M.mean() <= 2 * _standard_error(gap_M):
        verdict = (
            "this encoder does not tell positives from random texts: measure with a better one"
        )
        return means | {"hardness": None, "verdict": verdict}
    hardness = float(excess_M.mean() / gap_M.mean())
    if excess_M.mean() > 2 * _standard_error(excess_M) and hardness >= _SHARE:
        verdict = "hard negatives are harder than random texts"
    elif excess_M.mean() < -2 * _standard_error(excess_M):
        verdict = "hard negatives are easier than random texts: consider `cft data mine`"
    else:
        verdict = "hard negatives are no harder than random texts: consider `cft data mine`"
    return means | {"hardness": round(hardness, 4), "verdict": verdict}


def _standard_error(value_M: np.ndarray) -> float:
    return float(value_M.std(ddof=1) / np.sqrt(len(value_M))) if len(value_M) > 1 else np.inf


def _moments(cosine: np.ndarray) -> dict[str, Any] | None:
    known = cosine[np.isfinite(cosine)].astype(np.float64)
    if not len(known):
        return None
    return {
        "mean": round(float(known.mean()), 6),
        "std": round(float(known.std()), 6),
        "pairs": len(known),
    }
