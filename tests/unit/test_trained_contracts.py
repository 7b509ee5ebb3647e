"""Pooling, attention and prompts from the store through training to the loaded encoder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from cft.model.backbone import load_backbone
from cft.model.embedder import Embedder
from cft.model.encoder import Encoder
from cft.model.identity import backbone_digest
from cft.model.lora import attach_lora, save_adapter
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import ModelRecipe, TrainRecipe
from cft.tracking.run_directory import RunDirectory
from cft.training.batches import BatchLoader
from cft.training.trainer import ContrastiveTrainer
from tests.tiny import save_backbone, tiny_store
from tests.training import LORA, TRAIN, metrics

TEXTS = ["a short one", "धर्मक्षेत्रे कुरुक्षेत्रे", "one that is rather longer than the others are"]
CASES = {
    "defaults": {},
    "mean pooling": {"pooling": "mean"},
    "bidirectional": {"attention": "bidirectional"},
    "prompts": {"query_prompt": "query: ", "document_prompt": "text: "},
    "all": {
        "pooling": "mean", "attention": "bidirectional", "query_prompt": "query: ",
        "document_prompt": "text: ",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    return save_backbone(tmp_path_factory.mktemp("backbone"))


def trained(folder: Path, backbone: Path, changes: dict[str, str]) -> list[float]:
    """The loss curve; the adapter is left in ``folder/adapter``."""
    recipe = ModelRecipe(max_length=64, lora=LORA, **changes)
    terms = TextContract.of(recipe, load_tokenizer(backbone), backbone_digest(backbone))
    store = tiny_store(folder / "store", rows=43, texts=60, terms=terms)
    stage = TrainRecipe.model_validate({**TRAIN.model_dump(), "save_steps": 100})
    embedder = Embedder(attach_lora(load_backbone(backbone), LORA, stage.seed), terms)
    loader = BatchLoader(store, stage.batch_size, stage.max_steps, stage.seed, 0, 1)
    run = RunDirectory(folder)
    trainer = ContrastiveTrainer(embedder, loader, stage, run, "cpu")
    trainer.train()
    save_adapter(embedder.backbone, run.adapter, terms)
    return [one["train/loss"] for one in metrics(trainer)]


@torch.no_grad()
def by_hand(encoder: Encoder, backbone: Path, text: str, prompt: str) -> np.ndarray:
    """One text alone through transformers' own attention, pooled in the open."""
    terms = encoder.contract
    (ids,) = terms.tokenize(encoder.tokenizer, [text], prompt)
    merged = encoder.embedder.backbone.merge_and_unload()
    model = AutoModel.from_config(merged.config, attn_implementation="eager").eval()
    model.load_state_dict(merged.state_dict())
    size = len(ids)
    mask = torch.zeros(1, 1, size, size)
    if terms.attention == "causal":
        mask = mask.masked_fill(torch.ones(size, size).triu(1).bool(), float("-inf"))
    hidden_TD = model(
        torch.tensor(ids, dtype=torch.int64)[None], attention_mask=mask
    ).last_hidden_state[0]
    vector_D = hidden_TD[-1] if terms.pooling == "last" else hidden_TD.mean(0)
    return (vector_D / vector_D.norm()).numpy()


@pytest.mark.parametrize("name", CASES)
def test_what_was_trained_is_what_is_encoded(tmp_path, backbone, name):
    changes = CASES[name]
    losses = trained(tmp_path, backbone, changes)
    if changes:
        (tmp_path / "plain").mkdir()
        assert trained(tmp_path / "plain", backbone, {}) != losses, "the option changes nothing"
    encoder = Encoder.load(backbone, tmp_path / "adapter", device="cpu")
    for key, value in changes.items():
        assert getattr(encoder.contract, key) == value
    for prompt in (None, encoder.contract.query_prompt):
        vectors_ND = encoder.encode(TEXTS, prompt=prompt, progress=False)
        put = encoder.contract.document_prompt if prompt is None else prompt
        for vector_D, text in zip(vectors_ND, TEXTS, strict=True):
            fresh = Encoder.load(backbone, tmp_path / "adapter", device="cpu")
            np.testing.assert_allclose(vector_D, by_hand(fresh, backbone, text, put), atol=1e-5)
