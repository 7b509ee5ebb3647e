"""Every distinct text of an evaluation encoded once, and the encoder's output checked."""

import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from cft.errors import CftError
from cft.evaluation.metrics import row_cosines, unit_rows
from cft.model.vectors import require_vectors, shown
from cft.text import text_ids

log = logging.getLogger(__name__)
SAME = 0.99  # cosine of one text encoded twice; bfloat16 in another batch stays above 0.999


class SupportsEncode(Protocol):
    """Anything that turns texts into vectors: ``encode -> float [N, D]``, order kept."""

    def encode(
        self,
        texts: Sequence[str],
        *,
        prompt: str | None = None,
        batch_tokens: int = 8192,
        progress: bool = True,
    ) -> Any: ...


def prompts_of(encoder: SupportsEncode) -> tuple[str | None, str | None]:
    """Query and document prompt of an encoder, or of its text contract; None where it has none."""
    names = ("query_prompt", "document_prompt")
    contract = getattr(encoder, "contract", None)
    query, document = (getattr(encoder, name, getattr(contract, name, None)) for name in names)
    return query, document


class EncodedTexts:
    """Vectors of distinct texts, found by text."""

    def __init__(self, texts: Sequence[str], vector_ND: np.ndarray) -> None:
        self.vector_ND = vector_ND
        self.ids_N = text_ids(texts)
        self._row = {int(one): row for row, one in enumerate(self.ids_N)}

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of ``texts``, ``float32 [M, D]``."""
        return self.vector_ND[[self._row[int(one)] for one in text_ids(texts)]]


def encode_distinct(
    encoder: SupportsEncode,
    texts: Sequence[str],
    *,
    model: str,
    prompt: str | None,
    batch_tokens: int,
) -> EncodedTexts:
    """Encode each distinct text once; then three of them again, in reverse, as a probe of order.

    Raises:
        CftError: the output is not one finite, non-zero vector for each text, or a text encoded
            again gives another vector (order lost, dropout left on).
    """
    _, first = np.unique(text_ids(texts), return_index=True)
    distinct = [texts[place] for place in np.sort(first)]
    started = time.perf_counter()
    vector_ND = _checked(encoder, distinct, model, prompt, batch_tokens)
    seconds = time.perf_counter() - started
    log.info(
        "%s: encoded %d texts in %.1f s (%.0f texts/s)",
        model,
        len(distinct),
        seconds,
        len(distinct) / max(seconds, 1e-9),
    )
    probe = sorted({0, len(distinct) // 2, len(distinct) - 1}, reverse=True)
    again_ND = _checked(
        encoder, [distinct[row] for row in probe], model, prompt, batch_tokens, progress=False
    )
    if again_ND.shape[1] != vector_ND.shape[1]:
        raise CftError(
            f"{model}: vectors of {vector_ND.shape[1]} and then {again_ND.shape[1]} numbers; "
            "give an encoder of one dimension"
        )
    for row, cosine in zip(probe, row_cosines(vector_ND[probe], again_ND), strict=True):
        if cosine < SAME:
            raise CftError(
                f"{model}: text {row} ({shown(distinct[row])}) encoded twice gives two vectors "
                f"(cosine {cosine:.3f}); the encoder must keep the order of texts and have "
                "dropout off"
            )
    return EncodedTexts(distinct, vector_ND)


def _checked(
    encoder: SupportsEncode,
    texts: Sequence[str],
    model: str,
    prompt: str | None,
    batch_tokens: int,
    progress: bool = True,
) -> np.ndarray:
    vector_ND = np.asarray(
        encoder.encode(texts, prompt=prompt, batch_tokens=batch_tokens, progress=progress)
    )
    require_vectors(vector_ND, texts, model)
    return unit_rows(vector_ND)
