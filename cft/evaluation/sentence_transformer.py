"""Models of sentence-transformers behind the interface of our own encoder."""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cft.errors import CftError
from cft.files import digest_json
from cft.model.device import device_of
from cft.model.vectors import require_texts, require_vectors

logger = logging.getLogger("cft.evaluation")

_ROW_TOKENS = 128  # what a text is taken to be long when a token budget becomes a batch size
_DOCUMENT_NAMES = ("document", "passage", "corpus")


class SentenceTransformerEncoder:
    """Encodes with a model of sentence-transformers; vectors are float32 of unit norm.

    Attributes:
        name: what messages and results call it; free to set.
        query_prompt: put before every query.
        document_prompt: put before every document, and where no prompt is given.
    """

    # Its tokenizer sees a text as it is, so two spellings of one text may have two vectors.
    normalises = False

    def __init__(
        self,
        model: Any,
        name: str,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> None:
        self.model = model.eval()
        self.name = name
        prompts = model.prompts or {}
        usual = prompts.get(model.default_prompt_name) or ""
        if query_prompt is None:
            query_prompt = prompts.get("query") or usual
        if document_prompt is None:
            given = [prompts[one] for one in _DOCUMENT_NAMES if prompts.get(one)]
            document_prompt = given[0] if given else usual
        self.query_prompt, self.document_prompt = query_prompt, document_prompt

    @classmethod
    def load(
        cls,
        reference: Path | str,
        device: str = "auto",
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        trust_remote_code: bool = False,
    ) -> "SentenceTransformerEncoder":
        """Load a folder, or a name from the hub or its local cache.

        Args:
            reference: folder with ``modules.json``, or ``OWNER/NAME``.
            device: ``auto`` takes CUDA, then MPS, then the CPU.
            query_prompt: empty: the model's own prompt named ``query``, or its default.
            document_prompt: empty: the model's own prompt named ``document``, ``passage`` or
                ``corpus``, or its default.
            trust_remote_code: whether Python files of the model may run.

        Raises:
            CftError: sentence-transformers is not installed, this machine has no such device, or
                the model cannot be loaded.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise CftError(
                f"{reference}: sentence-transformers is not installed; "
                'install it with pip install "cft[eval]"'
            ) from None
        where = None if device == "auto" else str(device_of(device))
        on_cpu = device == "cpu" or not (
            torch.cuda.is_available() or torch.backends.mps.is_available()
        )
        try:
            model = SentenceTransformer(
                str(reference),
                device=where,
                trust_remote_code=trust_remote_code,
                # Half precision is slower and less exact on a CPU, whatever was saved.
                model_kwargs={"dtype": torch.float32} if on_cpu else None,
            )
        except Exception as error:  # safetensors, the hub and transformers each have their own
            text = " ".join(str(error).split())[:200] or type(error).__name__
            mend = (
                "copy or fetch the folder again"
                if Path(reference).is_dir()
                else "give a folder, or a name that the hub or its local cache holds"
            )
            raise CftError(
                f"{reference}: sentence-transformers cannot load it ({text}); {mend}"
            ) from None
        name = Path(reference).resolve().name if Path(reference).is_dir() else str(reference)
        return cls(model, name, query_prompt, document_prompt)

    @cached_property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        known = self.model.get_embedding_dimension()
        return int(known) if known else int(self._encode(["a"], "", 1, False).shape[1])

    @cached_property
    def revision(self) -> str:
        """Identity of every weight, the modules' settings, the tokenizer and both prompts.

        Read from memory, so a folder and a name of the hub's cache are told apart by content.
        """
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().view(-1)
            # As bytes: numpy knows no bfloat16.
            digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
        settings = [
            [type(one).__name__, one.get_config_dict() if hasattr(one, "get_config_dict") else {}]
            for one in self.model
        ]
        backend = getattr(getattr(self.model, "tokenizer", None), "backend_tokenizer", None)
        spelled = json.loads(backend.to_str()) if backend is not None else {}
        for moving in ("truncation", "padding"):  # set anew by every call
            spelled.pop(moving, None)
        length = getattr(self.model, "max_seq_length", None)
        prompts = [self.query_prompt, self.document_prompt]
        return digest_json([digest.hexdigest(), settings, digest_json(spelled), length, prompts])

    @property
    def precision(self) -> str:
        """Number format of the weights; vectors are float32 all the same."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self.model.device)

    def encode(
        self,
        texts: Sequence[str],
        *,
        prompt: str | None = None,
        batch_tokens: int = 8192,
        progress: bool = True,
    ) -> np.ndarray:
        """Embeddings of ``texts`` in their order, ``float32 [N, D]``, unit norm.

        Every distinct text is encoded once.

        Args:
            texts: any strings, encoded as they are.
            prompt: put before every text. Empty: :attr:`document_prompt`.
            batch_tokens: tokens of one forward, for texts of 128 tokens.
            progress: whether to show a bar and a summary line.

        Raises:
            CftError: a text is no string, or the model gives it no finite, non-zero vector.
        """
        require_texts(texts, self.name)
        if batch_tokens < 1:
            raise CftError(f"batch_tokens: {batch_tokens} is no budget; give 1 or more")
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        started = time.perf_counter()
        distinct = list(dict.fromkeys(texts))
        row_of = {text: row for row, text in enumerate(distinct)}
        prompt = self.document_prompt if prompt is None else prompt
        size = max(batch_tokens // _ROW_TOKENS, 1)
        vector_ND = self._encode(distinct, prompt, size, progress)
        require_vectors(vector_ND, distinct, self.name, self.dimension)
        vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
        if progress:
            seconds = time.perf_counter() - started
            logger.info(
                "%s: encoded %d texts (%d distinct) in %.1f s, %.0f texts/s",
                self.name, len(texts), len(distinct), seconds, len(texts) / max(seconds, 1e-9),
            )  # fmt: skip
        return vector_ND[[row_of[text] for text in texts]]

    def _encode(self, texts: list[str], prompt: str, size: int, progress: bool) -> np.ndarray:
        # An empty prompt is given as such: with None the model would take its default prompt.
        found = self.model.encode(
            texts, prompt=prompt, batch_size=size, show_progress_bar=progress, convert_to_numpy=True
        )
        return np.asarray(found, dtype=np.float32)
