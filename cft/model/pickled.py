"""Weights that a repository has only as pickles, rewritten as safetensors.

Old repositories hold ``pytorch_model.bin``. Torch's restricted unpickler builds tensors and plain
containers and refuses everything else, so no code of the file runs; what is kept is safetensors.
"""

import json
import logging
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tqdm import tqdm

from cft.errors import CftError
from cft.files import write_json

logger = logging.getLogger("cft.model")

INDEX = "pytorch_model.bin.index.json"
WEIGHTS = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin")


def convert_pickles(folder: Path) -> list[str]:
    """Write ``model*.safetensors`` beside every ``pytorch_model*.bin`` of ``folder``.

    Returns:
        The names of the pickles; they stay, and the caller removes them.

    Raises:
        CftError: a file holds anything but tensors, or is not whole.
    """
    shards = sorted(one for one in folder.iterdir() if WEIGHTS.fullmatch(one.name))
    for shard in tqdm(shards, desc="convert", unit="file", disable=len(shards) < 2):
        # The bytes of the file are read as they are written, not all at once.
        state = _tensors(shard)
        save_file(_unshared(state), folder / _converted(shard.name), metadata={"format": "pt"})
        logger.info("%s: %d tensors kept as safetensors", shard.name, len(state))
    if (index := folder / INDEX).is_file():
        given = json.loads(index.read_text(encoding="utf-8"))
        names = {key: _converted(name) for key, name in given["weight_map"].items()}
        write_json(folder / "model.safetensors.index.json", {**given, "weight_map": names})
    return [shard.name for shard in shards]


def _converted(name: str) -> str:
    return name.replace("pytorch_model", "model").removesuffix(".bin") + ".safetensors"


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    def load(mapped: bool) -> Any:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)

    try:
        try:
            state = load(True)
        except RuntimeError:  # the format before torch 1.6 cannot be mapped
            state = load(False)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        text = " ".join(str(error).split())[:160]
        raise CftError(
            f"{path.name}: not a plain file of tensors ({text}); name a --revision with "
            "safetensors or another repository"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise CftError(
            f"{path.name}: holds more than named tensors; name a --revision with safetensors or "
            "another repository"
        )
    return state


def _unshared(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, each with memory of its own: safetensors has no aliases (tied weights do)."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in state.items():
        tensor = tensor.contiguous()
        if tensor.data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.data_ptr())
        separate[name] = tensor
    return separate
