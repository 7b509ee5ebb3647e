"""The adapter: LoRA on chosen linear layers (Hu et al. 2021, arXiv:2106.09685), without pickle.

Trainable weights are float32 whatever the backbone's precision: in bfloat16 most updates round to
nothing.
"""

import json
import logging
import struct
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from cft.errors import CftError
from cft.files import whole_folder, write_json
from cft.model.text_contract import TextContract
from cft.recipe import LoraRecipe

logger = logging.getLogger("cft.model")

# peft asks transformers by an old name; nothing that a user of this package can act on.
warnings.filterwarnings("ignore", r"`is_gradient_checkpointing`", FutureWarning)

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"


def attach_lora(model: PreTrainedModel, recipe: LoraRecipe, seed: int) -> PeftModel:
    """Wrap ``model`` with a fresh, trainable adapter whose initial values depend on ``seed`` only.

    Raises:
        CftError: a target matches no linear layer; the names that exist are listed.
    """
    _require_targets(model, recipe.target_modules)
    config = LoraConfig(
        r=recipe.r,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.target_modules),
        init_lora_weights="gaussian" if recipe.init == "gaussian" else True,
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wrapped = get_peft_model(model, config)
    return _prepared(wrapped, trainable=True)


def save_adapter(model: PeftModel, folder: Path, contract: TextContract) -> None:
    """Publish the adapter as ``folder``, whole or not at all.

    Raises:
        CftError: a weight is not finite.
    """
    with whole_folder(folder) as staged:
        write_adapter(model, staged, contract)


def write_adapter(model: PeftModel, folder: Path, contract: TextContract) -> None:
    """Write weights (safetensors, float32), configuration and contract into an existing folder.

    Raises:
        CftError: a weight is not finite.
    """
    state = {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in get_peft_model_state_dict(model).items()
    }
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise CftError(
                f"{folder / WEIGHTS_FILE}: {name} is not finite; "
                "lower the learning rate and start from the last checkpoint"
            )
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    settings = model.peft_config["default"].to_dict()
    settings |= {"inference_mode": True, "target_modules": sorted(settings["target_modules"])}
    write_json(folder / CONFIG_FILE, json.loads(json.dumps(settings, default=str)))
    contract.save(folder)


def adapter_recipe(folder: Path) -> LoraRecipe:
    """Rank, alpha, dropout and targets of a saved adapter.

    Raises:
        CftError: the configuration is missing or no LoRA.
    """
    config = _read_config(folder)
    return LoraRecipe(
        r=config.r,
        alpha=config.lora_alpha,
        dropout=config.lora_dropout,
        target_modules=sorted(config.target_modules or []),
    )


def require_adapter(folder: Path, expected: LoraRecipe) -> None:
    """Assert that a saved adapter has the shape that a recipe asks for, reading no weights.

    Raises:
        CftError: naming the option that conflicts, or the configuration that cannot be read.
    """
    _require_same_shape(_read_config(folder), expected, folder)


def load_adapter(
    model: PreTrainedModel,
    folder: Path,
    trainable: bool = False,
    expected: LoraRecipe | None = None,
) -> PeftModel:
    """Wrap ``model`` with a saved adapter.

    Args:
        model: the backbone that the adapter was trained on.
        folder: with ``adapter_model.safetensors`` and ``adapter_config.json``.
        trainable: whether training goes on; else the model stays in eval mode.
        expected: what the recipe asks for. Rank, alpha and targets must be the adapter's; its
            dropout replaces the adapter's, as no weight depends on it.

    Raises:
        CftError: a file is missing, truncated, conflicts with ``expected`` or does not fit.
    """
    config = _read_config(folder)
    if expected is not None:
        _require_same_shape(config, expected, folder)
        config.lora_dropout = expected.dropout
    state = _read_weights(folder)
    _require_targets(model, sorted(config.target_modules or []), f"{folder / CONFIG_FILE}: ")
    config.inference_mode = not trainable
    wrapped = get_peft_model(model, config)
    _copy_weights(wrapped, state, folder)
    return _prepared(wrapped, trainable)


def load_weights(model: PeftModel, folder: Path) -> None:
    """Copy the weights of a saved adapter into a model that already wears one.

    Raises:
        CftError: the file is missing, truncated or does not fit.
    """
    _copy_weights(model, _read_weights(folder), folder)


def linear_names(model: nn.Module) -> list[str]:
    """Last parts of the names of all linear layers, the possible targets."""
    return sorted(
        {name.rsplit(".", 1)[-1] for name, part in model.named_modules() if _is_linear(part)}
    )


def _prepared(model: PeftModel, trainable: bool) -> PeftModel:
    for name, parameter in model.named_parameters():
        adapter = "lora_" in name
        parameter.requires_grad_(trainable and adapter)
        if adapter:
            parameter.data = parameter.data.float()
    return model.train(trainable)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)


def _require_targets(model: nn.Module, targets: list[str], where: str = "model.lora: ") -> None:
    names = [name for name, part in model.named_modules() if _is_linear(part)]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise CftError(
                f"{where}target_modules: {target!r} matches no linear layer; "
                f"this model has {', '.join(linear_names(model))}"
            )


def _require_same_shape(config: LoraConfig, recipe: LoraRecipe, folder: Path) -> None:
    pairs = {
        "r": (recipe.r, config.r),
        "alpha": (recipe.alpha, config.lora_alpha),
        "target_modules": (sorted(recipe.target_modules), sorted(config.target_modules or [])),
    }
    for name, (asked, given) in pairs.items():
        if asked != given:
            raise CftError(
                f"model.lora.{name}: {asked!r} is asked for, but the adapter {folder} to continue "
                f"has {given!r}; ask for the same or start without it"
            )


def _read_config(folder: Path) -> LoraConfig:
    path = folder / CONFIG_FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if settings.get("peft_type") != "LORA":
            raise ValueError(f"peft_type is {settings.get('peft_type')!r} and not LORA")
        config = LoraConfig.from_pretrained(str(folder))
    except FileNotFoundError:
        raise CftError(f"{path}: no such file; give the folder of a saved adapter") from None
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CftError(f"{path}: not a LoRA configuration ({error}); restore the file") from None
    assert isinstance(config, LoraConfig)
    return config


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS_FILE
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CftError(f"{path}: no such file; give the folder of a saved adapter") from None
    except (SafetensorError, ValueError, OSError, struct.error) as error:
        raise CftError(f"{path}: damaged ({error}); copy or train the adapter again") from None


def _copy_weights(model: PeftModel, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Copy by name after every name and shape was compared: PEFT itself lets some differ."""
    path = folder / WEIGHTS_FILE
    own = get_peft_model_state_dict(model)
    if missing := sorted(own.keys() - state.keys()):
        raise CftError(
            f"{path}: {len(missing)} weights are missing, first {missing[0]}; "
            "use the backbone that the adapter was trained on"
        )
    if extra := sorted(state.keys() - own.keys()):
        raise CftError(
            f"{path}: {len(extra)} weights have no place in this backbone, first {extra[0]}; "
            "use the backbone that the adapter was trained on"
        )
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            raise CftError(
                f"{path}: {name} is {list(state[name].shape)}, this backbone needs "
                f"{list(tensor.shape)}; use the backbone that the adapter was trained on"
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])
