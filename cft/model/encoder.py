"""The encoder: texts in, unit vectors out, the same vectors every time."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from tqdm import tqdm

from cft.errors import CftError
from cft.files import digest_json
from cft.model.backbone import load_backbone
from cft.model.compiled import compile_layers
from cft.model.device import device_of
from cft.model.embedder import Embedder
from cft.model.fetched import Fetched
from cft.model.identity import backbone_digest, weights_digest
from cft.model.lora import load_adapter
from cft.model.mteb_calls import MtebCalls, prompt_of_side, texts_of
from cft.model.packing import pack
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.model.vectors import require_texts, require_vectors
from cft.recipe import ModelRecipe

logger = logging.getLogger("cft.model")

# Texts that are tokenised and sorted by length together: few at first, so that a GPU soon has work.
_AT_FIRST, _AT_ONCE = 512, 8192
# Forwards that a GPU may have before it: it works on them while the host tokenises and packs.
_AHEAD = 4


class Encoder(MtebCalls):
    """Encodes texts with a backbone and perhaps an adapter, in eval mode, without gradients.

    It is an encoder of mteb as it is: ``mteb.evaluate(encoder, tasks)``.

    Attributes:
        name: what messages and results call it; free to set.
        contract: how a text becomes ids, and which states become its vector.
        backbone: folder that it was loaded from.
        adapter: folder of the adapter, if it has one.
    """

    # Texts that are equal in their normal form have one vector, so a cache may share it.
    normalises = True

    def __init__(
        self,
        embedder: Embedder,
        tokenizer: Any,
        backbone: Path | str,
        adapter: Path | str | None = None,
    ) -> None:
        self.embedder = embedder.eval()
        self.tokenizer = tokenizer
        self.contract = embedder.contract
        self.backbone = Path(backbone)
        self.adapter = None if adapter is None else Path(adapter)
        self.name = _name(self.backbone, self.adapter)

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
        where = device_of(device)
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
        return cls(Embedder(model, contract).to(where), tokenizer, backbone, adapter)

    def compile(self, **options: Any) -> "Encoder":
        """Run the layers compiled from now on; returns the encoder itself.

        The first forward then takes a minute or so, which pays on CUDA from some ten million
        tokens on. Vectors change by rounding alone.
        """
        compile_layers(self.embedder.backbone, **options)
        return self

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.embedder.parameters()).device

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return int(self.embedder.backbone.config.hidden_size)

    @cached_property
    def revision(self) -> str:
        """Identity of weights and text contract: with another one, vectors are others."""
        return digest_json(
            [weights_digest(self.backbone, self.adapter), self.contract.model_dump()]
        )

    @property
    def precision(self) -> str:
        """Number format of the weights; vectors are float32 all the same."""
        return str(next(self.embedder.parameters()).dtype).removeprefix("torch.")

    @property
    def query_prompt(self) -> str:
        """Put before every query."""
        return self.contract.query_prompt

    @property
    def document_prompt(self) -> str:
        """Put before every document, and where no prompt is given."""
        return self.contract.document_prompt

    def encode(
        self,
        texts: Sequence[str] | Iterable[Mapping[str, Any]],
        *,
        prompt: str | None = None,
        batch_tokens: int = 8192,
        progress: bool = True,
        task_metadata: Any = None,
        prompt_type: Any = None,
        **of_mteb: Any,
    ) -> np.ndarray:
        """Embeddings of ``texts`` in their order, ``float32 [N, D]``, unit norm.

        Every distinct text is encoded once. Texts of similar length share a pack, which changes
        no embedding by more than rounding.

        Args:
            texts: any strings; they are normalised.
            prompt: put before every text. Empty: the contract's document prompt.
            batch_tokens: tokens of one forward.
            progress: whether to show a bar and a summary line.
            task_metadata: given by mteb alone, whose ``texts`` are batches of them.
            prompt_type: of mteb: whether they are queries or documents.
            of_mteb: what else it tells (split, subset, a batch size in texts); not used.

        Raises:
            CftError: a text is no string, or the model gives it no finite, non-zero vector.
        """
        if task_metadata is not None:
            texts = texts_of(cast(Iterable[Mapping[str, Any]], texts), task_metadata)
            prompt = prompt_of_side(self, prompt_type) if prompt is None else prompt
            progress = progress and of_mteb.get("show_progress_bar", True)
        elif of_mteb:
            raise TypeError(f"encode() has no argument {', '.join(sorted(of_mteb))}")
        texts = cast(Sequence[str], texts)
        require_texts(texts, self.name)
        if batch_tokens < 1:
            raise CftError(f"batch_tokens: {batch_tokens} is no budget; give 1 or more")
        started = time.perf_counter()
        prompt = self.contract.document_prompt if prompt is None else prompt
        distinct = list(dict.fromkeys(texts))
        row_of = {text: row for row, text in enumerate(distinct)}
        vectors_ND = np.empty((len(distinct), self.dimension), dtype=np.float32)
        tokens = 0
        waiting: deque[tuple[np.ndarray, Fetched]] = deque()
        self.embedder.eval()
        with (
            torch.inference_mode(),
            tqdm(total=len(distinct), desc="encoding", unit="text", disable=not progress) as bar,
        ):

            def settle(most: int) -> None:
                while len(waiting) > most:
                    rows, fetched = waiting.popleft()
                    vectors_ND[rows] = fetched.array()
                    bar.update(len(rows))

            for first, end in _chunks(len(distinct)):
                chunk = distinct[first:end]
                sequences = self.contract.tokenize(self.tokenizer, chunk, prompt)
                tokens += sum(len(one) for one in sequences)
                for rows in _batches([len(one) for one in sequences], batch_tokens):
                    packed = pack([sequences[row] for row in rows], self.device)
                    waiting.append((first + rows, Fetched(self.embedder(packed))))
                    settle(_AHEAD)
            settle(0)
        seconds = time.perf_counter() - started
        if progress:
            logger.info(
                "encoded %d texts (%d distinct, %d tokens) in %.1f s, %.0f texts/s",
                len(texts), len(distinct), tokens, seconds, len(texts) / max(seconds, 1e-9),
            )  # fmt: skip
        if distinct:
            require_vectors(vectors_ND, distinct, self.name)
        return vectors_ND[[row_of[text] for text in texts]]


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    """Borders of chunks that double in size up to the largest."""
    first, size = 0, _AT_FIRST
    while first < count:
        yield first, min(first + size, count)
        first, size = first + size, min(2 * size, _AT_ONCE)


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


def _name(backbone: Path, adapter: Path | None) -> str:
    """The folder's name; of an adapter, whose folder is always called so, its run's as well."""
    folder = (backbone if adapter is None else adapter).resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name == "adapter" else folder.name


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
