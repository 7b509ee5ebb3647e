"""What makes an encoder one of mteb's (version 2), which is imported only where mteb asks.

mteb hands over a loader of batches where everybody else hands over texts, and says by a prompt
type whether they are queries or documents.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.nn.functional import normalize

from cft.errors import CftError

if TYPE_CHECKING:
    from mteb.models import ModelMeta

# mteb wants OWNER/NAME; a folder of this machine has no owner.
_OWNER = "local"


def texts_of(batches: Iterable[Mapping[str, Any]], task: Any) -> list[str]:
    """All texts of a loader in their order.

    Raises:
        CftError: a batch has no texts (a task of images or sounds).
    """
    texts: list[str] = []
    for batch in batches:
        if "text" not in batch:
            raise CftError(
                f"{task.name}: its inputs are {', '.join(batch)} and not texts; leave the task out"
            )
        texts += batch["text"]
    return texts


def prompt_of_side(encoder: Any, prompt_type: Any) -> str:
    """The document prompt for documents, else the query prompt.

    Tasks whose texts are neither (similarity, bitext) so have one prompt on both sides.
    """
    side = encoder.document_prompt if prompt_type == "document" else encoder.query_prompt
    return cast(str, side)


def model_meta(encoder: Any, prompts: Mapping[str, str] | None = None) -> "ModelMeta":
    """What mteb keeps results by: a name, and a revision that weights and contract decide.

    A model that was trained further is never answered from the results of the one before.
    """
    from mteb.models import ModelMeta
    from mteb.models.model_meta import ScoringFunction

    name = encoder.name.strip("/")
    return ModelMeta(
        loader=None,
        name=name if "/" in name else f"{_OWNER}/{name}",
        revision=encoder.revision,
        release_date=None,
        languages=None,
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=getattr(getattr(encoder, "contract", None), "max_length", None),
        embed_dim=encoder.dimension,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction.COSINE,
        use_instructions=bool(prompts or encoder.query_prompt or encoder.document_prompt),
        training_datasets=None,
        # mteb keeps results of each set of parameters apart.
        experiment_kwargs={"prompts": dict(prompts)} if prompts else None,
    )


class MtebCalls:
    """Mixed into an encoder: the part of mteb's protocol that is not encoding."""

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """Name, revision and dimension as mteb keeps them."""
        return model_meta(self)

    def similarity(self, a_ND: Any, b_MD: Any) -> torch.Tensor:
        """Cosines of all pairs, ``float32 [N, M]``; a single vector counts as one row."""
        return _rows(a_ND) @ _rows(b_MD).T

    def similarity_pairwise(self, a_ND: Any, b_ND: Any) -> torch.Tensor:
        """Cosines row by row, ``float32 [N]``."""
        return (_rows(a_ND) * _rows(b_ND)).sum(dim=-1)


def _rows(vectors: Any) -> torch.Tensor:
    rows = torch.as_tensor(np.asarray(vectors), dtype=torch.float32)
    return normalize(torch.atleast_2d(rows), dim=-1)
