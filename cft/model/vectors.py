"""What goes into an encoder and what comes out, checked: strings in, finite directions out."""

from collections.abc import Sequence

import numpy as np

from cft.errors import CftError

_ROWS = 65536  # looked at together: a mask of millions of vectors would take gigabytes


def require_texts(texts: Sequence[str], model: str) -> None:
    """Assert that ``texts`` is a sequence of strings.

    Raises:
        CftError: it is one string or can be read only once, or a row is no string (a missing value
            of a table is a NaN) or no text of Unicode.
    """
    if isinstance(texts, str | bytes):
        raise CftError(f"{model}: one string and not a list of texts; give [text]")
    if not hasattr(texts, "__len__"):  # looked at here, a generator would be empty after it
        raise CftError(f"{model}: a {type(texts).__name__} and not a list of texts; give list(...)")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise CftError(
                f"{model}: text {row} is {text!r} ({type(text).__name__}) and not a string; "
                "fill or drop missing values"
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CftError(
                f"{model}: text {row} holds {text[error.start]!r} at {error.start}, half a "
                "character; decode its source as UTF-8, or drop it"
            ) from None


def require_vectors(
    vector_ND: np.ndarray, texts: Sequence[str], model: str, dimension: int | None = None
) -> None:
    """Assert one finite, non-zero vector for each text.

    Args:
        vector_ND: what the encoder returned.
        texts: what it was given, for the message.
        model: which encoder.
        dimension: D, where it is known.

    Raises:
        CftError: naming the first text whose vector is not usable.
    """
    if vector_ND.ndim != 2 or len(vector_ND) != len(texts) or vector_ND.shape[1] == 0:
        raise CftError(
            f"{model}: {len(texts)} texts gave an array of shape {vector_ND.shape}; "
            "an encoder returns one row of D numbers for each text"
        )
    if dimension is not None and vector_ND.shape[1] != dimension:
        raise CftError(
            f"{model}: vectors of {vector_ND.shape[1]} numbers where {dimension} were expected; "
            "give an encoder of one dimension"
        )
    if vector_ND.dtype.kind != "f":
        raise CftError(
            f"{model}: vectors of type {vector_ND.dtype}; an encoder returns floating-point numbers"
        )
    finite_N, some_N = np.empty(len(texts), dtype=bool), np.empty(len(texts), dtype=bool)
    for first in range(0, len(texts), _ROWS):
        rows = slice(first, first + _ROWS)
        finite_N[rows] = np.isfinite(vector_ND[rows]).all(axis=1)
        some_N[rows] = vector_ND[rows].any(axis=1)
    for bad_N, what in ((~finite_N, "NaN or infinite"), (~some_N, "all zero")):
        if bad_N.any():
            row = int(bad_N.argmax())
            raise CftError(
                f"{model}: {int(bad_N.sum())} of {len(texts)} vectors are {what}, first text {row} "
                f"({shown(texts[row])}); check the checkpoint and its number format"
            )


def shown(text: str) -> str:
    """A text as a message quotes it."""
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
