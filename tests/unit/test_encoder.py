"""The encoder: deterministic, order kept, equal to encoding one by one, bound to its contract."""

import numpy as np
import pytest
import torch

from cft.errors import CftError
from cft.model import attention
from cft.model.backbone import load_backbone
from cft.model.encoder import Encoder, _batches
from cft.model.identity import backbone_digest, weights_digest
from cft.model.lora import attach_lora, save_adapter
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import LoraRecipe, ModelRecipe
from tests.tiny import save_backbone

TEXTS = [
    "रामः वनम् गच्छति ॥",
    "Rama goes to the forest.",
    "",
    "x" * 300,
    "Rama goes to the forest.",
    "a </s> in the middle",
    *(f"verse {n} " * (n % 7 + 1) for n in range(30)),
]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return save_backbone(tmp_path_factory.mktemp("model") / "backbone")


@pytest.fixture(scope="module")
def adapter(backbone):
    terms = TextContract.of(
        ModelRecipe(max_length=48, query_prompt="q: ", pooling="mean", attention="bidirectional"),
        load_tokenizer(backbone),
        backbone_digest(backbone),
    )
    model = attach_lora(load_backbone(backbone), LoraRecipe(dropout=0.5), seed=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    save_adapter(model, backbone.parent / "adapter", terms)
    return backbone.parent / "adapter"


@pytest.mark.parametrize("with_adapter", [False, True])
def test_twice_is_bit_equal_and_one_by_one_is_equal(backbone, adapter, with_adapter):
    encoder = Encoder.load(backbone, adapter if with_adapter else None, device="cpu")
    vectors = encoder.encode(TEXTS, batch_tokens=256)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), encoder.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    encoder.embedder.train()  # a caller's mistake must not switch dropout on
    np.testing.assert_array_equal(vectors, encoder.encode(TEXTS, batch_tokens=256))
    np.testing.assert_array_equal(vectors[1], vectors[4])
    for budget in (1, 64, 10**6):
        alone = encoder.encode(TEXTS, batch_tokens=budget, progress=False)
        np.testing.assert_allclose(vectors, alone, atol=1e-5)
    one_by_one = np.concatenate([encoder.encode([text], progress=False) for text in TEXTS])
    np.testing.assert_allclose(vectors, one_by_one, atol=1e-5)


def test_reloading_gives_the_same_vectors(backbone, adapter):
    first = Encoder.load(backbone, adapter).encode(TEXTS)
    np.testing.assert_array_equal(first, Encoder.load(backbone, adapter).encode(TEXTS))


def test_an_adapter_changes_the_vectors(backbone, adapter):
    terms = TextContract.load(adapter)
    base = Encoder.load(backbone, contract=terms).encode(TEXTS[:2])
    assert np.abs(base - Encoder.load(backbone, adapter).encode(TEXTS[:2])).max() > 1e-3


def test_prompts(backbone, adapter):
    encoder = Encoder.load(backbone, adapter)
    query = encoder.encode(["text"], prompt=encoder.contract.query_prompt)
    np.testing.assert_array_equal(query, encoder.encode(["q: text"]))
    assert np.abs(query - encoder.encode(["text"])).max() > 1e-3


def test_no_texts_give_an_empty_array(backbone):
    assert Encoder.load(backbone).encode([]).shape == (0, 32)


def test_summary_line_counts(backbone, caplog):
    with caplog.at_level("INFO", logger="cft"):
        Encoder.load(backbone).encode(["a", "b", "a"])
    assert "encoded 3 texts (2 distinct, 4 tokens)" in caplog.text
    assert "texts/s" in caplog.text


def test_no_head_is_loaded(backbone):
    names = [name for name, _ in Encoder.load(backbone).embedder.named_parameters()]
    assert names
    assert not any("lm_head" in name for name in names)


def test_batches_keep_the_budget_and_every_row():
    lengths = [5, 1, 9, 3, 3, 40, 2]
    batches = _batches(lengths, 10)
    assert sorted(int(row) for rows in batches for row in rows) == list(range(7))
    assert all(sum(lengths[row] for row in rows) <= 10 for rows in batches if len(rows) > 1)


def test_contract_is_asserted(backbone, adapter, tmp_path):
    other = save_backbone(tmp_path / "other", seed=1)
    with pytest.raises(CftError, match="backbone_digest"):
        Encoder.load(other, adapter)
    with pytest.raises(CftError, match="max_length is 48 and not 47"):
        changed = TextContract.load(adapter).model_copy(update={"max_length": 47})
        Encoder.load(backbone, adapter, contract=changed)
    (adapter / "text_contract.json").rename(tmp_path / "kept")
    try:
        with pytest.raises(CftError, match="no such file; an adapter is only usable"):
            Encoder.load(backbone, adapter)
    finally:
        (tmp_path / "kept").rename(adapter / "text_contract.json")


def no_config(folder):
    (folder / "config.json").unlink()


def broken_config(folder):
    (folder / "config.json").write_text("{")


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def truncated_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def no_tokenizer(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()


def missing_weight(folder):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state.pop("model.layers.1.self_attn.k_proj.weight")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_config, "no config.json there"),
        (broken_config, "not a configuration"),
        (no_weights, "weights cannot be loaded"),
        (truncated_weights, "weights cannot be loaded"),
        (no_tokenizer, "no tokenizer can be read|no EOS"),
        (missing_weight, "1 weights are missing, first layers.1.self_attn.k_proj.weight"),
    ],
)
def test_damaged_backbones_are_one_line(tmp_path, damage, message):
    folder = save_backbone(tmp_path / "backbone")
    damage(folder)
    with pytest.raises(CftError, match=message) as caught:
        Encoder.load(folder)
    assert "\n" not in str(caught.value)


def test_tokenizer_without_eos_is_refused(tmp_path):
    with pytest.raises(CftError, match="no EOS token"):
        Encoder.load(save_backbone(tmp_path / "backbone", eos=False))


def test_backbone_is_frozen_in_eval_mode_with_packed_attention(backbone):
    model = load_backbone(backbone)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert model.config._attn_implementation == attention.NAME
    assert model.config.use_cache is False


def test_name_and_revision_say_what_encodes(backbone, adapter, tmp_path):
    base, tuned = Encoder.load(backbone), Encoder.load(backbone, adapter)
    assert base.name == "backbone"
    assert tuned.name == f"{backbone.parent.name}/adapter"
    mean = Encoder.load(backbone, contract=base.contract.model_copy(update={"pooling": "mean"}))
    other = Encoder.load(save_backbone(tmp_path / "backbone", seed=1))
    assert len({one.revision for one in (base, tuned, mean, other)}) == 4
    assert Encoder.load(save_backbone(tmp_path / "again")).revision == base.revision


def test_revision_sees_a_change_in_the_middle_of_a_large_file(tmp_path, monkeypatch):
    monkeypatch.setattr("cft.model.identity._WHOLE", 1000)
    monkeypatch.setattr("cft.model.identity._BLOCK", 64)
    monkeypatch.setattr("cft.model.identity._SAMPLE", 500)
    first = weights_digest(save_backbone(tmp_path / "backbone"))
    path = tmp_path / "backbone" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[60000:61000] = bytes(1000)
    path.write_bytes(data)
    assert weights_digest(tmp_path / "backbone") != first


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "one string and not a list of texts"),
        (["a", None], "text 1 is None .NoneType. and not a string"),
        (["a", float("nan")], "text 1 is nan .float. and not a string"),
        ((one for one in "ab"), r"a generator and not a list of texts; give list\(\.\.\.\)"),
        (["a", "b \ud800"], r"text 1 holds '\\ud800' at 2, half a character"),
    ],
)
def test_what_is_no_text_is_refused(backbone, texts, message):
    with pytest.raises(CftError, match=message):
        Encoder.load(backbone).encode(texts)


def test_no_budget_is_refused(backbone):
    with pytest.raises(CftError, match="batch_tokens: 0 is no budget"):
        Encoder.load(backbone).encode(["a"], batch_tokens=0)


@pytest.mark.parametrize(("value", "what"), [(float("nan"), "NaN or infinite"), (0.0, "all zero")])
def test_broken_weights_are_told_by_the_first_text(tmp_path, value, what):
    encoder = Encoder.load(save_backbone(tmp_path / "backbone"), device="cpu")
    with torch.no_grad():
        encoder.embedder.backbone.norm.weight.fill_(value)
    with pytest.raises(CftError, match=f"backbone: 2 of 2 vectors are {what}, first text 0"):
        encoder.encode(["a", "b"])
