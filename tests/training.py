"""Training a tiny model inside the test's own process."""

from pathlib import Path

import torch

from cft.model.backbone import load_backbone
from cft.model.embedder import Embedder
from cft.model.lora import attach_lora
from cft.recipe import LoraRecipe, TrainRecipe
from cft.tracking.run_directory import RunDirectory
from cft.training.batches import BatchLoader
from cft.training.trainer import ContrastiveTrainer
from cft.triplets.store import TokenStore
from tests.tiny import contract, save_backbone, tiny_store

LORA = LoraRecipe(r=4, alpha=8, dropout=0.2, target_modules=["q_proj", "v_proj", "up_proj"])
TRAIN = TrainRecipe(
    learning_rate=1e-2, max_steps=6, warmup_steps=1, batch_size=6, logging_steps=1, save_steps=3
)


class Workshop:
    """A backbone, stores with several hard negatives, and run directories."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backbone = save_backbone(folder / "backbone")
        for ways in (1, 2):
            tiny_store(folder / f"store{ways}", rows=43, texts=60, ways=ways)

    def trainer(
        self,
        name: str,
        ways: int = 1,
        dtype: torch.dtype = torch.float32,
        dropout: float = 0.2,
        **options,
    ) -> ContrastiveTrainer:
        """A trainer of a fresh adapter; ``options`` change the stage."""
        recipe = TrainRecipe.model_validate({**TRAIN.model_dump(), **options})
        backbone = load_backbone(self.backbone, dtype)
        lora = LORA.model_copy(update={"dropout": dropout})
        embedder = Embedder(attach_lora(backbone, lora, recipe.seed), contract())
        store = TokenStore.open(self.folder / f"store{ways}")
        loader = BatchLoader(
            store, recipe.batch_size_for(1), recipe.max_steps, recipe.seed, rank=0, world_size=1
        )
        run = RunDirectory(self.folder / name)
        run.path.mkdir(exist_ok=True)
        return ContrastiveTrainer(embedder, loader, recipe, run, "cpu")

    def trained(self, name: str, **options) -> ContrastiveTrainer:
        """The same after its training."""
        trainer = self.trainer(name, **options)
        trainer.train()
        return trainer


def trainable(trainer: ContrastiveTrainer) -> dict[str, torch.Tensor]:
    """What the optimiser moves."""
    return {
        name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad
    }


def metrics(trainer: ContrastiveTrainer) -> list[dict[str, float]]:
    """The logged values, in order."""
    events, _ = trainer.run.read_events()
    return [one["values"] for one in events if one["kind"] == "metric"]
