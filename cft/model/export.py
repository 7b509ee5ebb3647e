"""Export to the folder format of sentence-transformers: one folder that other programs load.

Nothing of this package is needed to use the folder: the adapter is merged into the weights or
stands beside a reference to its backbone, and the tokenizer keeps the text contract by itself.
That the vectors are the same is not hoped but measured: the folder is loaded by
sentence-transformers before it is published.
"""

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from cft import __version__
from cft.errors import CftError
from cft.files import whole_folder, write_json
from cft.model.encoder import Encoder
from cft.model.export_proof import ALLOWED, TEXTS, Proof, prove, vectors_of
from cft.model.lora import CONFIG_FILE, write_adapter
from cft.model.serving_tokenizer import serving_tokenizer
from cft.model.source import fetched_from
from cft.model.text_contract import TextContract

logger = logging.getLogger("cft.model")

EXPORT_FILE = "export.json"


def export_encoder(
    encoder: Encoder,
    folder: Path,
    dtype: Literal["float32", "bfloat16"] = "float32",
    weights: Literal["merged", "adapter"] = "merged",
) -> Proof:
    """Write ``folder`` so that ``SentenceTransformer(folder)`` gives the encoder's vectors.

    A merged adapter is merged into the encoder's own weights: its vectors change by rounding.
    For a few types of model (Qwen2 is one) transformers builds the tokenizer anew and forgets its
    normal form; such a folder gives the same vectors to texts that are in their normal form
    already, and a warning says so.

    Args:
        encoder: on the CPU, in float32.
        folder: must not exist.
        dtype: of merged weights on disk. ``bfloat16`` halves the folder and rounds the weights.
        weights: ``merged``: one whole model. ``adapter``: a few megabytes, and the backbone by the
            name of its repository where it was fetched from one, else by its folder. Whoever loads
            it loads the backbone as it was saved, often in bfloat16; in float32
            (``model_kwargs={"dtype": "float32"}``) the vectors are the proven ones.

    Returns:
        How near the vectors are.

    Raises:
        CftError: the folder exists, sentence-transformers is not installed, the tokenizer cannot
            be exported, or the exported model gives other vectors. Then nothing is left.
    """
    started = time.perf_counter()
    contract = encoder.contract
    if folder.exists():
        raise CftError(f"{folder}: exists already; give a folder that does not")
    if encoder.precision != "float32" or encoder.device.type != "cpu":
        raise CftError(
            f"{encoder.name}: loaded as {encoder.precision} on {encoder.device}; "
            'load it with device "cpu" to export it'
        )
    if weights == "adapter":
        _require_separable(encoder, dtype)
    revision = encoder.revision
    expected = vectors_of(encoder)
    tokenizer = serving_tokenizer(encoder.tokenizer, contract)
    with whole_folder(folder) as staged:
        if weights == "adapter":
            write_adapter(encoder.embedder.backbone, staged, contract)
            _name_backbone(staged, str(encoder.backbone.resolve()))
        else:
            _merge(encoder)
            _write_model(encoder.embedder.backbone, staged, contract, dtype)
            # A digest of the folder cannot stand inside the folder.
            contract.model_copy(update={"backbone_digest": ""}).save(staged)
        _write_tokenizer(tokenizer, staged)
        _write_modules(staged, contract, encoder.dimension)
        proof = prove(staged, encoder, expected, ALLOWED[dtype])
        if weights == "adapter" and (source := fetched_from(encoder.backbone)):
            _name_backbone(staged, source.repo)
        write_json(
            staged / EXPORT_FILE,
            {
                "name": encoder.name,
                "revision": revision,
                "weights": weights,
                "dtype": dtype,
                "cft": __version__,
            }
            | asdict(proof),
        )
    logger.info(
        "%s: exported %s (%s) to %s in %.1f s, largest difference %.1e over %d texts",
        encoder.name, weights, dtype, folder, time.perf_counter() - started,
        proof.largest_difference,
        len(TEXTS) * len(expected),
    )  # fmt: skip
    if not proof.normalises:
        logger.warning(
            "%s: transformers drops the normal form from the tokenizer of a %s; give it texts in "
            "NFC with single spaces and dandas in one spelling (cft.text.normalise)",
            folder, encoder.embedder.backbone.config.model_type,
        )  # fmt: skip
    return proof


def _prompts(contract: TextContract) -> dict[str, str]:
    return {"query": contract.query_prompt, "document": contract.document_prompt}


def _require_separable(encoder: Encoder, dtype: str) -> None:
    """Assert that an adapter and a reference to its backbone say all there is to say."""
    if not hasattr(encoder.embedder.backbone, "merge_and_unload"):
        raise CftError(f"{encoder.name}: no adapter that could be exported alone; export it merged")
    if encoder.contract.attention == "bidirectional":
        raise CftError(
            f"{encoder.name}: bidirectional attention stands in the configuration of the model, "
            "which an adapter's folder does not have; export it merged"
        )
    if dtype != "float32":
        raise CftError(f"{encoder.name}: an adapter is kept in float32; leave {dtype} out")


def _name_backbone(folder: Path, reference: str) -> None:
    path = folder / CONFIG_FILE
    settings = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, settings | {"base_model_name_or_path": reference})


def _merge(encoder: Encoder) -> None:
    model = encoder.embedder.backbone
    if hasattr(model, "merge_and_unload"):
        encoder.embedder.backbone = model.merge_and_unload().eval()


def _write_model(model: Any, folder: Path, contract: TextContract, dtype: str) -> None:
    """Weights and configuration; a configuration says by ``is_causal`` what a token sees."""
    config = model.config
    kept = dict(config.__dict__)
    try:
        if contract.attention == "bidirectional":
            config.is_causal = False
        state = {
            name: tensor.to(getattr(torch, dtype)) for name, tensor in model.state_dict().items()
        }
        model.save_pretrained(folder, state_dict=state)
    finally:
        config.__dict__.clear()
        config.__dict__.update(kept)


def _write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Under the class name that every version of transformers since 4 knows."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings.pop("backend", None)
    write_json(path, settings | {"tokenizer_class": "PreTrainedTokenizerFast"})


def _write_modules(folder: Path, contract: TextContract, dimension: int) -> None:
    """The files that tell sentence-transformers, since version 2, what to do in which order."""
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": row, "name": str(row), "path": path, "type": f"sentence_transformers.models.{name}"}
        for row, (path, name) in enumerate(parts)
    ]
    write_json(folder / "modules.json", modules)
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": contract.max_length, "do_lower_case": False},
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "__version__": {"cft": __version__},
            "prompts": _prompts(contract),
            "default_prompt_name": "document" if contract.document_prompt else None,
            "similarity_fn_name": "cosine",
        },
    )
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": dimension,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": contract.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": contract.pooling == "last",
            "include_prompt": True,
        },
    )
    (folder / "2_Normalize").mkdir()
