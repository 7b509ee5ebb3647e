"""The encoder: texts in, unit vectors out, the same vectors every time."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from cft.errors import CftError
from cft.model.backbone import backbone_digest, load_backbone, load_tokenizer
from cft.model.embedder import Embedder
from cft.model.lora import load_adapter
from cft.model.packing import pack
from cft.model.text_contract import TextContract
from cft.recipe import ModelRecipe

logger = logging.getLogger("cft.model")

_TOKENIZE_AT_ONCE = 8192  # texts, so that the progress bar moves while millions are tokenised


class Encoder:
    """Encodes texts with a backbone and perhaps an adapter, in eval mode, without gradients."""

    def __init__(self, embedder: Embedder, tokenizer: Any) -> None:
        self.embedder = embedder.eval()
        self.tokenizer = tokenizer
        self.contract = embedder.contract

    @classmethod
    def load(
        cls,
        backbone: Path | str,
        adapter: Path | str | None = None,
        device: str = "auto",
        contract: TextContract | None = None,
        trust_remote_code: bool = False,
    ) -> "Encoder":
        """Load a backbone from a folder, and an adapter from another.

        Args:
            backbone: folder of a local causal LM.
            adapter: folder of an adapter with its ``text_contract.json``. Empty: the base model.
            device: ``auto`` takes CUDA, then MPS, then the CPU.
            contract: what the caller expects. With an adapter it must be the adapter's; without
                one it is used, and empty means the default contract of this backbone.
            trust_remote_code: whether Python files in the backbone's folder may run.

        Raises:
            CftError: a folder is no model or no adapter, or they do not belong together.
        """
        where = _device(device)
        tokenizer = load_tokenizer(backbone, trust_remote_code)
        digest = backbone_digest(backbone)
        if adapter is not None:
            saved = TextContract.load(Path(adapter))
            if contract is not None:
                contract.require_same(saved, str(adapter))
            contract = saved
        elif contract is None:
            contract = TextContract.of(ModelRecipe(), tokenizer, digest)
        _require_backbone(contract, tokenizer, digest, str(adapter or backbone))
        # Half precision pays on CUDA only; on a CPU it is slower and less exact.
        dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
        model: Any = load_backbone(
            backbone, dtype, max_length=contract.max_length, trust_remote_code=trust_remote_code
        )
        if adapter is not None:
            model = load_adapter(model, Path(adapter))
        return cls(Embedder(model, contract).to(where), tokenizer)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.embedder.parameters()).device

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return int(self.embedder.backbone.config.hidden_size)

    def encode(
        self,
        texts: Sequence[str],
        *,
        prompt: str | None = None,
        batch_tokens: int = 8192,
        progress: bool = True,
    ) -> np.ndarray:
        """Embeddings of ``texts`` in their order, ``float32 [N, D]``, unit norm.

        Every distinct text is encoded once. Texts of similar length share a pack, which changes
        no embedding by more than rounding.

        Args:
            texts: any strings; they are normalised.
            prompt: put before every text. Empty: the contract's document prompt.
            batch_tokens: tokens of one forward.
            progress: whether to show a bar and a summary line.
        """
        started = time.perf_counter()
        prompt = self.contract.document_prompt if prompt is None else prompt
        distinct = list(dict.fromkeys(texts))
        row_of = {text: row for row, text in enumerate(distinct)}
        sequences: list[np.ndarray] = []
        for first in range(0, len(distinct), _TOKENIZE_AT_ONCE):
            chunk = distinct[first : first + _TOKENIZE_AT_ONCE]
            sequences += self.contract.tokenize(self.tokenizer, chunk, prompt)
        vectors_ND = np.empty((len(distinct), self.dimension), dtype=np.float32)
        self.embedder.eval()
        with (
            torch.inference_mode(),
            tqdm(total=len(distinct), desc="encoding", unit="text", disable=not progress) as bar,
        ):
            for rows in _batches([len(one) for one in sequences], batch_tokens):
                packed = pack([sequences[row] for row in rows], self.device)
                vectors_ND[rows] = self.embedder(packed).cpu().numpy()
                bar.update(len(rows))
        seconds = time.perf_counter() - started
        tokens = sum(len(one) for one in sequences)
        if progress:
            logger.info(
                "encoded %d texts (%d distinct, %d tokens) in %.1f s, %.0f texts/s",
                len(texts), len(distinct), tokens, seconds, len(texts) / max(seconds, 1e-9),
            )  # fmt: skip
        return vectors_ND[[row_of[text] for text in texts]]


def _batches(lengths: list[int], batch_tokens: int) -> list[np.ndarray]:
    """Rows by falling length, cut so that no batch but a single long text exceeds the budget.

    The longest come first: a batch that does not fit the memory fails at once, not at the end.
    """
    batches: list[np.ndarray] = []
    current: list[int] = []
    used = 0
    for row in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        if current and used + lengths[row] > batch_tokens:
            batches.append(np.array(current))
            current, used = [], 0
        current.append(row)
        used += lengths[row]
    if current:
        batches.append(np.array(current))
    return batches


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _require_backbone(contract: TextContract, tokenizer: Any, digest: str, where: str) -> None:
    """A contract made for another tokenizer or other weights would give other vectors."""
    actual = {"eos_id": tokenizer.eos_token_id, "bos_id": tokenizer.bos_token_id}
    if contract.backbone_digest:
        actual["backbone_digest"] = digest
    for name, value in actual.items():
        if getattr(contract, name) != value:
            raise CftError(
                f"{where}: its text contract says {name} {getattr(contract, name)!r}, the backbone "
                f"has {value!r}; use the backbone that the adapter was trained on"
            )
