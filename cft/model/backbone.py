"""Loading a local causal LM without its head."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, PreTrainedModel

from cft.errors import CftError
from cft.model import attention
from cft.model.attention import AttentionPlan
from cft.model.identity import model_folder
from cft.model.packing import pack
from cft.model.tokenizer import model_config, one_line


def load_backbone(
    path: Path | str,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    max_length: int = 0,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """A local causal LM without its head, frozen, in eval mode, with packed attention.

    Args:
        path: folder of a transformers model.
        dtype: of the weights.
        device: where they go.
        max_length: longest text that it will see; a sliding window must not be shorter.
        trust_remote_code: whether Python files in the folder may run.

    Raises:
        CftError: the folder is no model, lacks weights, needs code that may not run, or has an
            attention that cannot be packed.
    """
    folder = model_folder(path)
    config = model_config(folder, trust_remote_code)
    _require_packable(config, folder, max_length)
    config.use_cache = False
    # The variable-length kernel has no dropout; the adapter's own dropout is what regularises.
    if getattr(config, "attention_dropout", 0.0):
        config.attention_dropout = 0.0
    try:
        model, loaded = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=attention.NAME,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    except Exception as error:  # safetensors, torch and transformers each have their own kinds
        raise CftError(
            f"{folder}: the weights cannot be loaded ({one_line(error)}); "
            "fetch or save the backbone again"
        ) from None
    if loaded["missing_keys"]:
        missing = sorted(loaded["missing_keys"])
        raise CftError(
            f"{folder}: {len(missing)} weights are missing, first {missing[0]}; "
            "fetch or save the backbone again"
        )
    model.requires_grad_(False)
    model.eval().to(device)
    _require_separation(model, folder)
    return model


def _require_packable(config: Any, folder: Path, max_length: int) -> None:
    """Refuse what packed attention does not compute."""
    kinds = set(getattr(config, "layer_types", None) or [])
    if unknown := kinds - {"full_attention", "sliding_attention"}:
        raise CftError(
            f"{folder}/config.json: layer_types holds {sorted(unknown)}, which cannot be packed; "
            "use a backbone with full attention"
        )
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in kinds if kinds else window is not None
    if slides and window is not None and window < max_length:
        raise CftError(
            f"{folder}/config.json: its sliding window of {window} tokens is shorter than "
            f"max_length {max_length}; lower --max-length or use a backbone with full attention"
        )
    if getattr(config, "attn_logit_softcapping", None):
        raise CftError(
            f"{folder}/config.json: attn_logit_softcapping is not supported by packed attention; "
            "use a backbone without it"
        )
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and positions < max_length:
        raise CftError(
            f"{folder}/config.json: {positions} positions are fewer than max_length {max_length}; "
            "lower --max-length"
        )


@torch.no_grad()
def _require_separation(model: PreTrainedModel, folder: Path) -> None:
    """Assert on real numbers that this architecture keeps packed texts apart.

    A model class that does not hand the plan to its attention would train on contaminated
    embeddings without any error.
    """
    size = model.config.vocab_size
    texts = [torch.arange(3, 8) % size, torch.arange(11, 14) % size]
    device = next(model.parameters()).device

    def states(sequences: list[torch.Tensor]) -> torch.Tensor:
        packed = pack([one.numpy() for one in sequences], device)
        return model(
            input_ids=packed.ids_T[None],
            position_ids=packed.positions_T[None],
            use_cache=False,
            attention_plan=AttentionPlan.of(packed, causal=True),
        ).last_hidden_state[0]

    try:
        together = states(texts)
        alone = torch.cat([states([one]) for one in texts])
    except (TypeError, ValueError) as error:
        raise CftError(
            f"{folder}: {type(model).__name__} does not accept packed attention "
            f"({one_line(error)}); use a Llama, Qwen, Mistral or Gemma type of backbone"
        ) from None
    allowed = 1e-3 if together.dtype == torch.float32 else 0.1
    if (together - alone).float().norm() > allowed * alone.float().norm():
        raise CftError(
            f"{folder}: {type(model).__name__} mixes packed texts; "
            "use a Llama, Qwen, Mistral or Gemma type of backbone"
        )
