"""Any encoder of ours under mteb's encoder protocol (mteb 2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder, get_prompt_name
from mteb.types import PromptType
from torch.utils.data import DataLoader

from cft.evaluation.encoders import NamedEncoder
from cft.model.mteb_calls import model_meta, prompt_of_side, texts_of


class MtebEncoder(AbsEncoder):
    """What mteb calls, for what :func:`cft.evaluation.encoders.open_encoder` gives.

    Our own :class:`~cft.model.encoder.Encoder` mteb takes as it is; this is for encoders of others
    and those with a cache, and for prompts that a task decides.

    Args:
        encoder: gives unit vectors; its cache, if it has one, is used.
        prompts: put before texts, by the keys of mteb: ``TASK-query``, ``TASK``, ``TYPE-document``,
            ``TYPE``, ``query``, ``document``. Where none fits, queries take the encoder's query
            prompt and documents its document prompt; tasks whose texts are neither (similarity,
            bitext) take the query prompt on both sides.
        batch_tokens: tokens of one forward; mteb's ``batch_size`` counts texts and is not used.
        progress: whether to show bars and summary lines.
    """

    def __init__(
        self,
        encoder: NamedEncoder,
        prompts: Mapping[str, str] | None = None,
        *,
        batch_tokens: int = 8192,
        progress: bool = True,
    ) -> None:
        self.encoder = encoder
        self.model = encoder
        self.prompts = self.model_prompts = dict(prompts or {})
        self.batch_tokens = batch_tokens
        self.progress = progress
        self.mteb_model_meta = model_meta(encoder, self.prompts)

    def prompt_for(self, task_metadata: Any, prompt_type: PromptType | None) -> str:
        """What is put before the texts of one side of a task."""
        chosen = get_prompt_name(self.prompts, task_metadata, prompt_type)
        if chosen is not None:
            return self.prompts[chosen]
        return prompt_of_side(self.encoder, prompt_type)

    def encode(
        self,
        inputs: DataLoader,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Embeddings of all texts of a loader in their order, ``float32 [N, D]``, unit norm.

        Raises:
            CftError: a batch has no texts (a task of images or sounds), or a text or its vector
                is not usable.
        """
        return self.encoder.encode(
            texts_of(inputs, task_metadata),
            prompt=self.prompt_for(task_metadata, prompt_type),
            batch_tokens=self.batch_tokens,
            progress=self.progress and kwargs.get("show_progress_bar", True),
        )
