"""Architectures that ship as Python code, computed by transformers' own modules instead."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cft.errors import CftError

if TYPE_CHECKING:
    from transformers.models.granite.configuration_granite import GraniteConfig


def native_config(folder: Path) -> "GraniteConfig | None":
    """The configuration of a MiniCPM (first generation) as a Granite model, else None.

    MiniCPM is Llama with three constants (Hu et al. 2024, arXiv:2404.06395, section 4): embeddings
    times ``scale_emb``, every residual branch times ``scale_depth / sqrt(layers)``, and logits
    that no embedding needs. Granite has the same constants under other names, and the same names
    of weights; so MiniCPM needs none of the code in its repository, which was written for the
    transformers of its year.

    Raises:
        CftError: ``config.json`` is no JSON object, or has a rotary scaling that differs.
    """
    path = folder / "config.json"
    try:
        given: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CftError(f"{path}: not a configuration ({error}); restore the file") from None
    named = {given.get("model_type"), *(given.get("architectures") or [])}
    if named.isdisjoint({"minicpm", "MiniCPMForCausalLM", "MiniCPMModel"}):
        return None
    if "num_experts" in given or given.get("rope_scaling"):
        raise CftError(
            f"{path}: experts or a rotary scaling; of the MiniCPM models only those without can "
            "be loaded"
        )
    head_dim = given["hidden_size"] // given["num_attention_heads"]
    heads = given.get("num_key_value_heads") or given["num_attention_heads"]
    same = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "hidden_act", "initializer_range", "max_position_embeddings",
        "rms_norm_eps", "bos_token_id", "eos_token_id", "pad_token_id", "attention_bias",
    )  # fmt: skip
    from transformers.models.granite.configuration_granite import GraniteConfig

    return GraniteConfig(
        **{name: given[name] for name in same if name in given},
        num_key_value_heads=heads,
        embedding_multiplier=float(given.get("scale_emb", 1)),
        residual_multiplier=float(given.get("scale_depth", 1)) / given["num_hidden_layers"] ** 0.5,
        attention_multiplier=head_dim**-0.5,
        rope_parameters={
            "rope_type": "default", "rope_theta": float(given.get("rope_theta", 10000.0))
        },
    )  # fmt: skip
