"""An exported folder is a plain sentence-transformers model with the encoder's own vectors."""

import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from cft.cli import app
from cft.errors import CftError
from cft.evaluation.encoders import open_encoder
from cft.model import export
from cft.model.backbone import load_backbone
from cft.model.encoder import Encoder
from cft.model.export import export_encoder
from cft.model.identity import backbone_digest
from cft.model.lora import attach_lora, save_adapter
from cft.model.nano import train_tokenizer
from cft.model.serving_tokenizer import serving_tokenizer
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import LoraRecipe, ModelRecipe
from cft.text import normalise
from tests.tiny import byte_tokenizer, save_backbone, tiny_model

TEXTS = [
    "रामः वनम् गच्छति ॥",
    "रामः  वनम्\tगच्छति ||",
    "Rama goes to the forest.",
    "",
    "q: a text that begins as a prompt does",
    "a </s> in the middle, <pad> too",
    "x" * 300,
    *(f"verse {n} " * (n % 7 + 1) for n in range(12)),
]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return save_backbone(tmp_path_factory.mktemp("model") / "backbone")


def adapted(backbone, folder, recipe):
    """The encoder of an adapter that matters."""
    terms = TextContract.of(recipe, load_tokenizer(backbone), backbone_digest(backbone))
    model = attach_lora(load_backbone(backbone), LoraRecipe(), seed=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    save_adapter(model, folder, terms)
    return Encoder.load(backbone, folder, device="cpu")


@pytest.mark.parametrize(
    "recipe",
    [
        ModelRecipe(max_length=48),
        ModelRecipe(max_length=48, pooling="mean", query_prompt="q: ", document_prompt="d:"),
        ModelRecipe(max_length=64, attention="bidirectional", query_prompt="Do: this\nQuery: "),
    ],
)
def test_sentence_transformers_gives_the_same_vectors(backbone, tmp_path, recipe):
    encoder = adapted(backbone, tmp_path / "adapter", recipe)
    revision = encoder.revision
    prompts = {"query": recipe.query_prompt, "document": recipe.document_prompt}
    expected = {
        name: encoder.encode(TEXTS, prompt=prompt, progress=False)
        for name, prompt in prompts.items()
    }
    base = Encoder.load(backbone, device="cpu", contract=encoder.contract)
    assert np.abs(base.encode(TEXTS, progress=False) - expected["document"]).max() > 1e-3
    export_encoder(encoder, tmp_path / "out")
    shutil.rmtree(tmp_path / "adapter")
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert model.prompts == prompts
    assert model.max_seq_length == recipe.max_length
    for name, vector_ND in expected.items():
        for size in (1, 8):
            found = model.encode(TEXTS, prompt_name=name, batch_size=size)
            np.testing.assert_allclose(found, vector_ND, atol=1e-5)
    np.testing.assert_allclose(model.encode(TEXTS), expected["document"], atol=1e-5)
    np.testing.assert_allclose(model.encode_query(TEXTS), expected["query"], atol=1e-5)
    ours = open_encoder(tmp_path / "out", device="cpu")
    assert isinstance(ours, Encoder)
    for name, prompt in prompts.items():
        found = ours.encode(TEXTS, prompt=prompt, progress=False)
        np.testing.assert_allclose(found, expected[name], atol=1e-5)
    assert json.loads((tmp_path / "out" / "export.json").read_text())["revision"] == revision
    assert {one.suffix for one in (tmp_path / "out").rglob("*.*")} == {".json", ".safetensors"}


@pytest.mark.parametrize("kind", ["qwen2", "gemma"])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_other_architectures_agree(tmp_path, kind, attention, caplog):
    tiny_model(kind).save_pretrained(tmp_path / "backbone")
    byte_tokenizer().save_pretrained(tmp_path / "backbone")
    encoder = Encoder.load(tmp_path / "backbone", device="cpu")
    encoder = Encoder.load(
        tmp_path / "backbone",
        device="cpu",
        contract=encoder.contract.model_copy(update={"attention": attention}),
    )
    expected = encoder.encode(TEXTS, progress=False)
    proof = export_encoder(encoder, tmp_path / "out")
    assert proof.largest_difference < 1e-5
    # Of a Qwen2, transformers takes only vocabulary and merges from the folder.
    assert proof.normalises == (kind != "qwen2") == ("drops the normal form" not in caplog.text)
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    texts = TEXTS if proof.normalises else [normalise(text) for text in TEXTS]
    np.testing.assert_allclose(model.encode(texts), expected, atol=1e-5)


def test_an_attention_that_the_format_cannot_say_is_refused(backbone, tmp_path, monkeypatch):
    terms = Encoder.load(backbone, device="cpu").contract
    encoder = Encoder.load(
        backbone, device="cpu", contract=terms.model_copy(update={"attention": "bidirectional"})
    )
    write = export._write_model

    def ignored(model, folder, contract, dtype):
        """What an architecture does that does not read is_causal."""
        write(model, folder, contract.model_copy(update={"attention": "causal"}), dtype)

    monkeypatch.setattr(export, "_write_model", ignored)
    with pytest.raises(CftError, match=r"out: .* ignores is_causal, so the format cannot say"):
        export_encoder(encoder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_alone_refers_to_its_backbone(backbone, tmp_path):
    encoder = adapted(backbone, tmp_path / "adapter", ModelRecipe(max_length=48))
    expected = encoder.encode(TEXTS, progress=False)
    export_encoder(encoder, tmp_path / "out", weights="adapter")
    np.testing.assert_array_equal(encoder.encode(TEXTS, progress=False), expected)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-5)
    again = open_encoder(tmp_path / "out", device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS, progress=False), expected, atol=1e-6)


def test_a_fetched_backbone_is_named_by_its_repository(tmp_path):
    backbone = save_backbone(tmp_path / "backbone")
    (backbone / "source.json").write_text(json.dumps({"repo": "owner/name"}))
    encoder = adapted(backbone, tmp_path / "adapter", ModelRecipe(max_length=48))
    export_encoder(encoder, tmp_path / "out", weights="adapter")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "owner/name"


@pytest.mark.parametrize(
    ("attention", "dtype", "with_adapter", "message"),
    [
        ("bidirectional", "float32", True, "bidirectional attention stands in the configuration"),
        ("causal", "bfloat16", True, "kept in float32"),
        ("causal", "float32", False, "no adapter that could be exported alone"),
    ],
)
def test_what_an_adapter_alone_cannot_say(
    backbone, tmp_path, attention, dtype, with_adapter, message
):
    encoder = adapted(
        backbone, tmp_path / "adapter", ModelRecipe(max_length=48, attention=attention)
    )
    if not with_adapter:
        encoder = Encoder.load(backbone, device="cpu")
    with pytest.raises(CftError, match=message):
        export_encoder(encoder, tmp_path / "out", dtype, "adapter")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_adds_eos_itself_gets_one(tmp_path):
    tokenizer = train_tokenizer(TEXTS[:3] * 3, 400)
    terms = TextContract.of(ModelRecipe(max_length=24), tokenizer)
    served = serving_tokenizer(tokenizer, terms)
    for text, ids in zip(TEXTS, terms.tokenize(tokenizer, TEXTS), strict=True):
        assert served(text, truncation=True)["input_ids"] == ids.tolist(), text


def test_bos_stands_where_the_contract_has_it():
    tokenizer = byte_tokenizer()
    terms = TextContract.of(ModelRecipe(max_length=24), tokenizer).model_copy(
        update={"add_bos": True}
    )
    served = serving_tokenizer(tokenizer, terms)
    for text, ids in zip(TEXTS, terms.tokenize(tokenizer, TEXTS), strict=True):
        assert served(text, truncation=True)["input_ids"] == ids.tolist(), text


@pytest.fixture(scope="module")
def pair():
    tokenizer = byte_tokenizer()
    recipe = ModelRecipe(max_length=40, query_prompt="q: ", document_prompt="Do\n\nthis: ")
    terms = TextContract.of(recipe, tokenizer)
    return tokenizer, terms, serving_tokenizer(tokenizer, terms)


SPELLINGS = st.text(st.sampled_from("aé\u0301 \t\n\u00a0\u2003\u001c|।॥रा</s>q:"), max_size=30)


@settings(max_examples=300, deadline=None)
@given(text=SPELLINGS | st.text(max_size=20))
def test_the_tokenizer_alone_keeps_the_contract(pair, text):
    tokenizer, terms, served = pair
    for prompt in (terms.query_prompt, terms.document_prompt):
        (ids,) = terms.tokenize(tokenizer, [text], prompt)
        assert served(prompt + text, truncation=True)["input_ids"] == ids.tolist()
    if not text.strip().startswith(("q:", "Do")):
        (ids,) = terms.tokenize(tokenizer, [text])
        assert served(text, truncation=True)["input_ids"] == ids.tolist()


def test_half_precision_is_half_as_large_and_near(backbone, tmp_path):
    encoder = Encoder.load(backbone, device="cpu")
    expected = encoder.encode(TEXTS, progress=False)
    difference = export_encoder(encoder, tmp_path / "half", "bfloat16").largest_difference
    assert 1e-5 < difference < 3e-2
    export_encoder(encoder, tmp_path / "whole")
    sizes = [(tmp_path / one / "model.safetensors").stat().st_size for one in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    model = SentenceTransformer(str(tmp_path / "half"), device="cpu")
    found = np.asarray(model.encode(TEXTS), dtype=np.float32)
    np.testing.assert_allclose(found, expected, atol=3e-2)


def test_the_verb(backbone, tmp_path, monkeypatch):
    adapted(backbone, tmp_path / "run" / "adapter", ModelRecipe(max_length=48))
    run = [str(tmp_path / "run"), str(tmp_path / "out"), "--backbone", str(backbone)]
    done = CliRunner().invoke(app, ["model", "export", *run], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1].startswith(f"{tmp_path / 'out'}  largest difference")
    with pytest.raises(CftError, match="exists already"):
        CliRunner().invoke(app, ["model", "export", *run], catch_exceptions=False)
