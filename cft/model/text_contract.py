"""How a text becomes token ids, and which hidden states become its embedding.

The contract is written beside the adapter and asserted when it is loaded, so that training and
serving see the same ids. Whatever the tokenizer does by itself, the last id of every text is EOS.
"""

import json
import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from cft.errors import CftError, problems_of
from cft.files import digest_json, write_json
from cft.recipe import ModelRecipe, Settings
from cft.text import normalise

logger = logging.getLogger("cft.model")

CONTRACT_FILE = "text_contract.json"


class TextContract(Settings):
    """The contract between the texts, the tokenizer and the embedding."""

    max_length: int = Field(ge=4, description="Tokens of a text, BOS and EOS included.")
    pooling: Literal["last", "mean"] = Field(description="Hidden states that are pooled.")
    attention: Literal["causal", "bidirectional"] = Field(description="What a token sees.")
    query_prompt: str = Field("", description="Put before every anchor and query.")
    document_prompt: str = Field("", description="Put before every positive, negative, document.")
    add_bos: bool = Field(description="Whether a text begins with BOS.")
    bos_id: int | None = Field(None, description="Id of BOS, where there is one.")
    eos_id: int = Field(ge=0, description="Id of EOS; it ends every text.")
    normal_form: Literal["nfc-danda-1"] = Field(
        "nfc-danda-1", description="Version of the normal form: NFC, single spaces, dandas folded."
    )
    backbone_digest: str = Field("", description="Identity of the backbone and its tokenizer.")

    @classmethod
    def of(cls, recipe: ModelRecipe, tokenizer: Any, backbone_digest: str = "") -> "TextContract":
        """The contract that ``recipe`` asks for with this tokenizer.

        A text begins with BOS when the tokenizer adds one by itself: the backbone was trained so.

        Raises:
            CftError: the tokenizer has no EOS, or a prompt leaves no room for the text.
        """
        eos_id = tokenizer.eos_token_id
        if eos_id is None:
            name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
            raise CftError(
                f"{name}: the tokenizer has no EOS token, and the embedding is read at EOS; "
                'set "eos_token" in its tokenizer_config.json'
            )
        bos_id = tokenizer.bos_token_id
        first = tokenizer("a")["input_ids"][:1]
        contract = cls(
            max_length=recipe.max_length,
            pooling=recipe.pooling,
            attention=recipe.attention,
            query_prompt=recipe.query_prompt,
            document_prompt=recipe.document_prompt,
            add_bos=bos_id is not None and list(first) == [bos_id],
            bos_id=bos_id,
            eos_id=eos_id,
            backbone_digest=backbone_digest,
        )
        for field in ("query_prompt", "document_prompt"):
            used = len(contract.tokenize(tokenizer, [""], prompt=getattr(contract, field))[0])
            if used >= contract.max_length:
                raise CftError(
                    f"model.{field}: it fills all {contract.max_length} tokens of a text; "
                    "shorten it or raise max_length"
                )
        return contract

    def tokenize(self, tokenizer: Any, texts: Sequence[str], prompt: str = "") -> list[np.ndarray]:
        """Token ids of many texts, each ``int32 [L]`` with ``L <= max_length`` and EOS last.

        Texts are normalised; the prompt is taken as it is. Long texts lose their end, never EOS.
        The literal spelling of a special token inside a text is ordinary text: it can end
        nothing and begin nothing.
        """
        flat_T, length_N = self.tokenize_flat(tokenizer, [normalise(one) for one in texts], prompt)
        return np.split(flat_T, np.cumsum(length_N)[:-1]) if len(length_N) else []

    def tokenize_flat(
        self, tokenizer: Any, normalised: Sequence[str], prompt: str = ""
    ) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`tokenize` gives, end to end, of texts that are in their normal form already.

        Returns:
            Token ids ``int32 [T]`` and the length of each text ``int64 [N]``.
        """
        texts = [prompt + text for text in normalised] if prompt else list(normalised)
        flat_T, length_N = _encode(tokenizer, texts)
        special = [self.eos_id] if self.bos_id is None else [self.eos_id, self.bos_id]
        ordinary_T = ~np.isin(flat_T, special)
        if not ordinary_T.all():  # a tokenizer that cannot leave specials unparsed
            before_T = np.concatenate([[0], np.cumsum(ordinary_T)])
            length_N = np.diff(before_T[np.concatenate([[0], np.cumsum(length_N)])])
            flat_T = flat_T[ordinary_T]
        head = int(self.add_bos)
        kept_N = np.minimum(length_N, self.max_length - 1 - head)
        start_N = np.cumsum(length_N) - length_N
        end_N = np.cumsum(kept_N + head + 1)
        total = int(end_N[-1]) if len(end_N) else 0
        out_T = np.full(total, self.eos_id, dtype=np.int32)
        added_N = np.arange(len(kept_N)) * (head + 1)  # before the body of each text
        body_T = np.arange(int(kept_N.sum())) + np.repeat(added_N, kept_N)
        shift_N = start_N - (np.cumsum(kept_N) - kept_N)
        out_T[body_T + head] = flat_T[np.arange(len(body_T)) + np.repeat(shift_N, kept_N)]
        if self.add_bos and self.bos_id is not None:
            out_T[end_N - kept_N - head - 1] = self.bos_id
        return out_T, kept_N + head + 1

    def save(self, folder: Path) -> None:
        """Write ``text_contract.json`` into ``folder``, atomically."""
        write_json(folder / CONTRACT_FILE, self.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> "TextContract":
        """Read ``text_contract.json`` from ``folder``.

        Raises:
            CftError: the file is missing, is not JSON, or holds unknown or impossible values.
        """
        path = folder / CONTRACT_FILE
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise CftError(
                f"{path}: no such file; an adapter is only usable with the text contract that it "
                "was trained under"
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CftError(f"{path}: not valid JSON ({error}); restore the file") from None
        except ValidationError as error:
            raise CftError(f"{path}: {problems_of(error)}; restore the file") from None

    def require_same(self, other: "TextContract", where: str) -> None:
        """Assert that two contracts agree.

        Raises:
            CftError: naming ``where`` and every field that differs.
        """
        mine, theirs = self.model_dump(), other.model_dump()
        different = [
            f"{name} is {theirs[name]!r} and not {mine[name]!r}"
            for name in mine
            if mine[name] != theirs[name]
        ]
        if different:
            raise CftError(
                f"{where}: the text contract differs ({'; '.join(different)}); "
                "use the backbone and the model settings that the adapter was trained with"
            )


def tokenizer_digest(tokenizer: Any) -> str:
    """Identity of a tokenizer, whatever lies beside it (16 hex digits)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return digest_json([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
    backend.no_truncation()
    backend.no_padding()
    return digest_json(backend.to_str())


def _encode(tokenizer: Any, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids of many texts end to end, ``int32 [T]``, and how many each has, ``int64 [N]``.

    No special token is added or parsed.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not texts:
        lists: list[list[int]] = []
    elif backend is None:  # a tokenizer in Python
        encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)
        lists = [list(ids) for ids in encoded["input_ids"]]
    else:
        # The tokenizer's own call builds offsets and masks for every text: five times as slow. It
        # sets these three switches itself on each call, so setting them here disturbs nobody.
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True
        lists = [one.ids for one in backend.encode_batch_fast(texts, add_special_tokens=False)]
    length_N = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    flat_T = np.fromiter(chain.from_iterable(lists), dtype=np.int32, count=int(length_N.sum()))
    return flat_T, length_N
