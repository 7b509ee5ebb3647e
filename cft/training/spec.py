"""``spec.json``: what a training job has to do, written before it starts and never changed."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from cft.errors import CftError, problems_of
from cft.files import write_json
from cft.recipe import Recipe, Settings, TrainRecipe


class TrainSpec(Settings):
    """One stage of training, completely determined."""

    recipe: Recipe = Field(description="The whole recipe of the two-stage run.")
    stage: Literal["stage1", "stage2"] = Field(description="Which stage this run trains.")
    store: str = Field(description="Folder of the tokenised triplets.")
    backbone: str = Field(description="Folder of the causal LM.")
    init_adapter: str | None = Field(
        None, description="Adapter to start from: its weights only, with a fresh optimiser."
    )
    world_size: int = Field(1, ge=1, description="Ranks; every rank checks it.")
    data_digest: str = Field("", description="Digest of the prepared data.")
    store_digest: str = Field(
        "", description="Digest of the store's rows and contract. Empty: others answer for them."
    )
    code: dict[str, Any] = Field({}, description="Version and commit of the code.")

    @property
    def train(self) -> TrainRecipe:
        """The settings of this stage."""
        return self.recipe.stage1 if self.stage == "stage1" else self.recipe.stage2

    def save(self, path: Path) -> None:
        """Write the spec as JSON, atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> "TrainSpec":
        """Read a spec.

        Raises:
            CftError: the file is missing, is not JSON, or holds an unknown or impossible value.
        """
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise CftError(
                f"{path}: no such file; name a run directory that a training has begun"
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CftError(f"{path}: not valid JSON ({error}); write it again") from None
        except ValidationError as error:
            raise CftError(f"{path}: {problems_of(error)}") from None
