"""Checkpoints that are whole or absent, and hold no code.

``checkpoint-N`` is written beside and renamed, so a folder of that name is always complete. It
holds the adapter (safetensors, JSON), a learned temperature (safetensors), the optimiser and
schedule (tensors and numbers, read with ``weights_only``) and the trainer's state (JSON).
"""

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from cft.errors import CftError
from cft.files import PARTIAL, whole_folder
from cft.model.embedder import Embedder
from cft.model.lora import load_weights, write_adapter
from cft.model.text_contract import TextContract
from cft.tracking.run_directory import RunDirectory
from cft.training.checkpoint_folders import KEPT, checkpoints
from cft.training.temperature import Temperature

if TYPE_CHECKING:
    from cft.training.trainer import ContrastiveTrainer

logger = logging.getLogger("cft.training")

TEMPERATURE_FILE = "temperature.safetensors"


def save_checkpoint(trainer: "ContrastiveTrainer", run: RunDirectory) -> None:
    """Write ``checkpoint-<step>`` and remove all but the newest few. Only rank 0 calls it."""
    target = run.checkpoints / f"checkpoint-{trainer.state.global_step}"
    assert trainer.optimizer is not None
    assert trainer.lr_scheduler is not None
    with whole_folder(target) as folder:
        embedder = trainer.embedder
        write_adapter(embedder.backbone, folder, embedder.contract)
        if trainer.recipe.learn_temperature:
            save_model(trainer.temperature, str(folder / TEMPERATURE_FILE))
        # The names that transformers looks for when it resumes.
        torch.save(trainer.optimizer.state_dict(), folder / "optimizer.pt")
        torch.save(trainer.lr_scheduler.state_dict(), folder / "scheduler.pt")
        trainer.state.save_to_json(str(folder / "trainer_state.json"))
    for old in checkpoints(run)[:-KEPT]:
        # Renamed first: a removal that is interrupted must not leave half a checkpoint.
        gone = old.with_name(f".{old.name}.removed{PARTIAL}")
        old.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)


def load_checkpoint(embedder: Embedder, temperature: Temperature, folder: Path | str) -> None:
    """Put the adapter's weights, and the temperature where it is learned, back into place.

    Raises:
        CftError: a file is missing, truncated or does not fit, or the checkpoint was made under
            another text contract: weights of another backbone would fit as well.
    """
    embedder.contract.require_same(TextContract.load(Path(folder)), str(folder))
    load_weights(embedder.backbone, Path(folder))
    if temperature.log_scale is not None:
        path = Path(folder) / TEMPERATURE_FILE
        try:
            load_model(temperature, path)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise CftError(
                f"{path}: cannot be read ({' '.join(str(error).split())}); "
                "remove this checkpoint and go on from the one before"
            ) from None
