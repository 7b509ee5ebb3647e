"""Any encoder by its reference: folder, run directory, registered model or a name."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cft.errors import CftError
from cft.evaluation.sentence_transformer import SentenceTransformerEncoder
from cft.home import Home
from cft.model.cache import CachedEncoder
from cft.model.encoder import Encoder
from cft.model.lora import CONFIG_FILE
from cft.model.text_contract import CONTRACT_FILE, TextContract

REGISTERED = "models:/"
_STAGES = ("stage2", "stage1")  # of a two-stage run, the last first


class NamedEncoder(Protocol):
    """An encoder that says what it is: what every opened reference gives."""

    name: str

    @property
    def revision(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    @property
    def query_prompt(self) -> str: ...

    @property
    def document_prompt(self) -> str: ...

    def encode(
        self,
        texts: Sequence[str],
        *,
        prompt: str | None = None,
        batch_tokens: int = 8192,
        progress: bool = True,
    ) -> np.ndarray: ...


def open_encoder(
    reference: str | Path,
    *,
    backbone: Path | str | None = None,
    adapter: Path | str | None = None,
    device: str = "auto",
    cache: Path | None = None,
    contract: TextContract | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    trust_remote_code: bool = False,
) -> NamedEncoder:
    """Load whatever a reference means.

    Args:
        reference: folder of a backbone, of an adapter, of an exported model or of a
            sentence-transformers model; a run directory (its adapter); a registered model
            (``models:/cft-embedder@champion``); or the name of a sentence-transformers model.
        backbone: of an adapter, where it does not lie where training found it.
        adapter: put on a backbone.
        device: ``auto`` takes CUDA, then MPS, then the CPU.
        cache: folder of an embedding cache. Empty: every text is computed.
        contract: for a backbone without an adapter. Empty: the default contract.
        query_prompt: for a model that was not trained here. Empty: the model's own.
        document_prompt: for a model that was not trained here. Empty: the model's own.
        trust_remote_code: whether Python files of the model may run.

    Raises:
        CftError: no such thing, it is damaged, or its parts do not belong together.
    """
    given = {"query_prompt": query_prompt, "document_prompt": document_prompt}
    prompts: dict[str, Any] = {name: one for name, one in given.items() if one is not None}
    options: dict[str, Any] = {"device": device, "trust_remote_code": trust_remote_code}
    folder = Path(reference).expanduser()
    encoder: Any
    if str(reference).startswith(REGISTERED):
        _refuse_adapter(adapter, reference, "has its adapter")
        encoder = _registered(str(reference), backbone, options)
    elif not folder.exists():
        if _is_path(str(reference)):
            raise CftError(f"{reference}: no such folder; give a model folder or a model's name")
        _refuse_adapter(adapter, reference, "is the name of a whole model")
        return _cached(SentenceTransformerEncoder.load(str(reference), **prompts, **options), cache)
    elif (folder / CONFIG_FILE).is_file():
        _refuse_adapter(adapter, reference, "is an adapter itself")
        encoder = Encoder.load(backbone or _backbone_of(folder), folder, **options)
    elif (run := _trained_run(folder)) is not None:
        _refuse_adapter(adapter, reference, "is a run with its own adapter")
        encoder = Encoder.load(
            backbone or _backbone_of(run / "adapter"), run / "adapter", **options
        )
    elif (folder / "modules.json").is_file():
        _refuse_adapter(adapter, reference, "is a whole model")
        if not (folder / CONTRACT_FILE).is_file():
            return _cached(SentenceTransformerEncoder.load(folder, **prompts, **options), cache)
        # Exported by this package: packed texts are quicker, and the contract is known.
        encoder = Encoder.load(folder, contract=TextContract.load(folder), **options)
    elif (folder / "config.json").is_file():
        encoder = Encoder.load(folder, adapter, contract=contract, **options)
        if adapter is None and prompts:
            encoder.contract = encoder.contract.model_copy(update=prompts)
            prompts = {}
    else:
        raise CftError(
            f"{reference}: neither a model nor a run; give a folder with config.json, "
            f"modules.json, {CONFIG_FILE} or a finished run's spec.json and adapter"
        )
    for name, prompt in prompts.items():
        if prompt != getattr(encoder, name):
            raise CftError(
                f"{reference}: its text contract says {name} {getattr(encoder, name)!r} and not "
                f"{prompt!r}; a trained model keeps the prompts that it was trained with"
            )
    return _cached(encoder, cache)


def _cached(encoder: Any, cache: Path | None) -> NamedEncoder:
    return encoder if cache is None else CachedEncoder(encoder, cache)


def _refuse_adapter(adapter: Path | str | None, reference: str | Path, because: str) -> None:
    if adapter is not None:
        raise CftError(
            f"{adapter}: an adapter goes on a backbone, but {reference} {because}; "
            "give one of the two"
        )


def _is_path(reference: str) -> bool:
    """Whether a reference that is not there was meant as a folder: names have one slash.

    One that begins with a folder of this place is a slip, and no reason to ask the hub.
    """
    first, slash, _ = reference.partition("/")
    return (
        reference.startswith((".", "/", "~"))
        or reference.count("/") > 1
        or (bool(slash) and Path(first).is_dir())
    )


def _registered(reference: str, backbone: Path | str | None, options: dict[str, Any]) -> Encoder:
    from cft.tracking.registered import fetch_embedder

    with tempfile.TemporaryDirectory(prefix="cft-registered-") as scratch:
        found = fetch_embedder(reference, Home.from_environment().tracking_uri, Path(scratch))
        where = Path(backbone or found.backbone)
        if not where.is_dir():
            raise CftError(
                f"{reference}: its backbone {where} is not on this machine; give --backbone DIR"
            )
        encoder = Encoder.load(where, found.adapter, **options)
        _ = encoder.revision  # while the adapter's files are there
    encoder.name = found.name
    return encoder


def _trained_run(folder: Path) -> Path | None:
    """The run directory that holds the adapter: this one, or the last stage of a two-stage run.

    Raises:
        CftError: a run whose training has not ended.
    """
    runs = [folder, *(folder / stage for stage in _STAGES)]
    for run in runs:
        if (run / "adapter" / CONFIG_FILE).is_file():
            return run
    if any((run / "spec.json").is_file() for run in runs):
        raise CftError(f"{folder}: a run without an adapter; wait for it, or train it to its end")
    return None


def _backbone_of(adapter: Path) -> Path:
    """Where the backbone of an adapter lay when it was trained: its run's spec, or PEFT's word.

    Raises:
        CftError: neither names a folder that is there.
    """
    named = [
        _field(adapter.parent / "spec.json", "backbone"),
        _field(adapter / CONFIG_FILE, "base_model_name_or_path"),
    ]
    folders = [Path(one) for one in named if one]
    for folder in folders:
        if (folder / "config.json").is_file():
            return folder
    where = f" (it was trained on {folders[0]})" if folders else ""
    raise CftError(
        f"{adapter}: an adapter needs its backbone{where}, which is not there; give --backbone DIR"
    )


def _field(path: Path, name: str) -> str | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, str) else None
