"""The nano backbone: its tokenizer loses nothing, its training learns, its folder is whole."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from cft.errors import CftError
from cft.model.nano import WINDOW, make_backbone, pretrain, pretraining_rows, train_tokenizer
from cft.recipe import NanoRecipe

TEXTS = [
    f"{who} {what} {where}."
    for who in ("रामः", "सीता", "The king", "A sage", "Hanuman")
    for what in ("वनम् गच्छति", "sees the river", "पश्यति", "speaks the truth")
    for where in ("तत्र", "there", "in the forest", "नगरे")
] * 12
TINY = NanoRecipe(
    vocab_size=512, hidden_size=32, num_layers=1, num_heads=2, max_steps=30, batch_tokens=512
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, TINY.vocab_size)


@pytest.mark.parametrize("text", ["वनम् गच्छति", "The king: unseen zebra!", "漢字 🕉", "tab\tand two"])
def test_no_text_is_unknown_and_eos_closes_it(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.unk_token_id not in ids
    assert "".join(tokenizer.decode(ids[:-1]).split()) == "".join(text.split())


def test_eos_survives_save_and_reload(tokenizer, tmp_path: Path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(TEXTS[:5])["input_ids"] == tokenizer(TEXTS[:5])["input_ids"]
    assert len(tokenizer) <= TINY.vocab_size


def test_rows_hold_the_stream_in_order(tokenizer):
    rows_RW = pretraining_rows(tokenizer, TEXTS)
    stream = np.concatenate([np.asarray(ids) for ids in tokenizer(TEXTS)["input_ids"]])
    assert rows_RW.shape[1] == WINDOW + 1
    np.testing.assert_array_equal(rows_RW[:, :-1].ravel(), stream[: rows_RW.shape[0] * WINDOW])
    np.testing.assert_array_equal(rows_RW[:-1, -1], rows_RW[1:, 0])


def test_too_little_text_is_an_error(tokenizer):
    with pytest.raises(CftError, match=r"fewer than one row.*--backbone"):
        pretraining_rows(tokenizer, TEXTS[:2])


def test_pretraining_learns_and_repeats_exactly(tokenizer):
    rows_RW = pretraining_rows(tokenizer, TEXTS)
    ids_BW = torch.from_numpy(rows_RW[:4])

    def loss(model) -> float:
        with torch.no_grad():
            return model(input_ids=ids_BW, labels=ids_BW).loss.item()

    untrained = pretrain(rows_RW, len(tokenizer), TINY.model_copy(update={"max_steps": 1}))
    first, second = (pretrain(rows_RW, len(tokenizer), TINY) for _ in range(2))
    assert loss(first) < 0.75 * loss(untrained)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_folder_loads_as_any_backbone(tmp_path: Path):
    folder = make_backbone(TEXTS, TINY, tmp_path / "nano")
    model = AutoModel.from_pretrained(folder)
    assert model.config.hidden_size == TINY.hidden_size
    assert AutoTokenizer.from_pretrained(folder).eos_token == "</s>"
    assert os.listdir(tmp_path) == ["nano"]
    assert not [p for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pkl"}]
