"""The proof of an export: sentence-transformers loads the folder and gives the same vectors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cft.errors import CftError
from cft.model.encoder import Encoder
from cft.model.lora import CONFIG_FILE
from cft.text import normalise

# Largest difference of a component of a unit vector that is still the same vector.
ALLOWED = {"float32": 1e-5, "bfloat16": 3e-2}
TEXTS = (
    "रामः वनम् गच्छति ॥",
    "धर्मक्षेत्रे  कुरुक्षेत्रे | समवेता युयुत्सवः ||",
    "Rama goes to the forest.",
    " spaces \t at the ends\u00a0",
    "",
    "x",
    "</s> <s> <|endoftext|> spelled out",
    "cafe\u0301 and café",
    "कर्मण्येवाधिकारस्ते मा फलेषु कदाचन । " * 40,  # longer than any usual max_length
    "a long English sentence that goes on and on, " * 40,
)


@dataclass(frozen=True)
class Proof:
    """What sentence-transformers gave for the texts of the proof."""

    largest_difference: float  # of any component, to the encoder's vectors
    normalises: bool  # whether any spelling will do, or texts must come in their normal form


def vectors_of(encoder: Encoder) -> dict[str, np.ndarray]:
    """What the texts of the proof must give, by prompt."""
    prompts = (encoder.query_prompt, encoder.document_prompt)
    return {one: encoder.encode(TEXTS, prompt=one, progress=False) for one in prompts}


def prove(folder: Path, encoder: Encoder, expected: dict[str, np.ndarray], allowed: float) -> Proof:
    """Load the folder as others will, and compare token ids and vectors.

    Raises:
        CftError: ids differ, or a vector by more than ``allowed``, also of texts in normal form.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise CftError(
            "sentence-transformers is not installed, and an export is not published unproven; "
            'install it with pip install "cft[eval]"'
        ) from None
    contract = encoder.contract
    name = folder.name.removeprefix(".").rsplit(".", 2)[0]  # of .NAME.PID.partial
    try:
        model = SentenceTransformer(
            str(folder),
            device="cpu",
            # As it was saved; but of an adapter, whose backbone may be saved in half precision.
            model_kwargs={"dtype": "float32"} if (folder / CONFIG_FILE).is_file() else None,
        )
    except Exception as error:  # transformers has a kind for every architecture
        text = " ".join(str(error).split())[:200]
        raise CftError(
            f"{name}: sentence-transformers cannot load what was written ({text}); "
            "serve the model with this package"
        ) from None
    differences = {}
    for normalises in (True, False):
        texts = list(TEXTS) if normalises else [normalise(text) for text in TEXTS]
        # Ids as well: half precision could hide that a tokenizer read something else.
        same = all(_same_ids(model.tokenizer, encoder, texts, prompt) for prompt in expected)
        found = [
            np.asarray(model.encode(texts, prompt=one, batch_size=4, show_progress_bar=False))
            for one in expected
        ]
        difference_PN = np.abs(np.stack(found) - np.stack(list(expected.values()))).max(axis=2)
        differences[normalises] = float(difference_PN.max())
        if same and differences[normalises] <= allowed:
            return Proof(differences[normalises], normalises)
    reason = (
        "its architecture ignores is_causal, so the format cannot say that attention is "
        "bidirectional"
        if contract.attention == "bidirectional"
        else "its tokenizer or architecture is not what the format makes of it"
    )
    raise CftError(
        f"{name}: loaded by sentence-transformers it gives vectors that "
        f"differ by {differences[False]:.1e}; {reason}; serve the model with this package"
    )


def _same_ids(served: Any, encoder: Encoder, texts: list[str], prompt: str) -> bool:
    expected = encoder.contract.tokenize(encoder.tokenizer, texts, prompt)
    found = served([prompt + text for text in texts], truncation=True)["input_ids"]
    return [one.tolist() for one in expected] == [list(one) for one in found]
