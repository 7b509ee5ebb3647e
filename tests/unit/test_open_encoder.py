"""Every kind of reference opens, gives the vectors of what it names, or says why not."""

import json
import os
import shutil

import mlflow
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from cft.errors import CftError
from cft.evaluation.encoders import open_encoder
from cft.evaluation.sentence_transformer import SentenceTransformerEncoder
from cft.home import Home
from cft.model.backbone import load_backbone
from cft.model.cache import CachedEncoder
from cft.model.encoder import Encoder
from cft.model.identity import backbone_digest
from cft.model.lora import attach_lora, save_adapter
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import LoraRecipe, ModelRecipe
from cft.tracking import registry
from cft.tracking.runs import Tracking
from tests.sentence_transformers_models import save_sentence_transformer
from tests.tiny import save_backbone

TEXTS = ["रामः वनम् गच्छति ॥", "Rama goes to the forest.", "", "Rama goes to the forest.", "x" * 90]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A backbone and a run directory with an adapter of it."""
    place = tmp_path_factory.mktemp("place")
    backbone = save_backbone(place / "backbone")
    terms = TextContract.of(
        ModelRecipe(max_length=48, query_prompt="q: "),
        load_tokenizer(backbone),
        backbone_digest(backbone),
    )
    model = attach_lora(load_backbone(backbone), LoraRecipe(), seed=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    save_adapter(model, place / "run" / "adapter", terms)
    (place / "run" / "spec.json").write_text(json.dumps({"backbone": str(backbone)}))
    save_sentence_transformer(place / "theirs", {"query": "ask: ", "passage": "read: "})
    return place


def equal(found, expected):
    np.testing.assert_allclose(
        found.encode(TEXTS, progress=False), expected.encode(TEXTS, progress=False), atol=1e-6
    )


def test_folders_of_ours(place, tmp_path):
    backbone, run = place / "backbone", place / "run"
    tuned = Encoder.load(backbone, run / "adapter", device="cpu")
    equal(open_encoder(str(backbone), device="cpu"), Encoder.load(backbone, device="cpu"))
    equal(open_encoder(backbone, adapter=run / "adapter", device="cpu"), tuned)
    equal(open_encoder(run / "adapter", device="cpu"), tuned)
    equal(open_encoder(run, device="cpu"), tuned)
    shutil.copytree(run, tmp_path / "flow" / "stage2")
    equal(open_encoder(tmp_path / "flow", device="cpu"), tuned)
    shutil.copytree(run / "adapter", tmp_path / "moved")
    equal(open_encoder(tmp_path / "moved", backbone=backbone, device="cpu"), tuned)
    assert open_encoder(run).revision == tuned.revision
    assert open_encoder(run).query_prompt == "q: "


def test_prompts_of_a_backbone_are_free_and_of_an_adapter_are_not(place):
    encoder = open_encoder(place / "backbone", query_prompt="q: ")
    plain = open_encoder(place / "backbone")
    assert (encoder.query_prompt, plain.query_prompt) == ("q: ", "")
    assert encoder.revision != plain.revision
    with pytest.raises(CftError, match="says query_prompt 'q: ' and not 'ask: '"):
        open_encoder(place / "run", query_prompt="ask: ")


def test_a_sentence_transformers_folder_gives_its_own_vectors_at_unit_norm(place):
    encoder = open_encoder(place / "theirs", device="cpu")
    assert isinstance(encoder, SentenceTransformerEncoder)
    assert (encoder.name, encoder.dimension) == ("theirs", 24)
    assert (encoder.query_prompt, encoder.document_prompt) == ("ask: ", "read: ")
    raw = SentenceTransformer(str(place / "theirs"), device="cpu")
    for prompt, own in [(None, "read: "), ("", ""), ("ask: ", "ask: ")]:
        found = encoder.encode(TEXTS, prompt=prompt, batch_tokens=256, progress=False)
        expected = raw.encode(TEXTS, prompt=own, normalize_embeddings=True, batch_size=1)
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    given = open_encoder(place / "theirs", query_prompt="", document_prompt="passage: ")
    assert (given.query_prompt, given.document_prompt) == ("", "passage: ")
    assert encoder.encode([], progress=False).shape == (0, 24)
    with pytest.raises(CftError, match="text 1 is None"):
        encoder.encode(["a", None])


def test_revision_of_a_sentence_transformer_is_of_its_weights_and_settings(place, tmp_path):
    first = open_encoder(place / "theirs").revision
    shutil.copytree(place / "theirs", tmp_path / "copy")
    again = open_encoder(tmp_path / "copy")
    again.encode(TEXTS, progress=False)  # which pads and truncates, and changes nothing
    assert again.revision == first
    pooling = tmp_path / "copy" / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps(json.loads(pooling.read_text()) | {"pooling_mode": "cls"}))
    assert open_encoder(tmp_path / "copy").revision != first
    other = save_sentence_transformer(tmp_path / "other", seed=1)
    assert open_encoder(other).revision != first


def test_with_a_cache_the_vectors_are_the_same(place, tmp_path):
    for name in ("run", "theirs"):
        direct = open_encoder(place / name, device="cpu")
        cached = open_encoder(place / name, device="cpu", cache=tmp_path)
        assert isinstance(cached, CachedEncoder)
        for prompt in (None, "q: "):
            for _ in range(2):
                np.testing.assert_allclose(
                    cached.encode(TEXTS, prompt=prompt, progress=False),
                    direct.encode(TEXTS, prompt=prompt, progress=False),
                    atol=1e-5,
                )
        assert (cached.name, cached.revision) == (direct.name, direct.revision)
    # A model that sees texts as they are keeps their spellings apart.
    spellings = ["राम |", "राम ।"]
    one, other = open_encoder(place / "theirs", cache=tmp_path).encode(spellings, progress=False)
    assert np.abs(one - other).max() > 1e-4


@pytest.fixture(scope="module")
def registered(place, tmp_path_factory):
    """A state folder whose registry holds the adapter as version 1, a candidate."""
    home = Home(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking = Tracking.open(home, "open")
        with tracking.run("r", role="two-stage", job="one") as run:
            uri = registry.log_embedder(
                run,
                adapter=place / "run" / "adapter",
                backbone=place / "backbone",
                backbone_digest=backbone_digest(place / "backbone"),
            )
        registry.register(tracking.client, uri, "cft-embedder", run_id=run.id, job="one", tags={})
    return home


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """MLflow's own settings name another store, as those of a notebook may."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/other.db")
    del os.environ["MLFLOW_TRACKING_URI"]
    yield
    mlflow.set_tracking_uri(None)


@pytest.mark.parametrize("reference", ["@candidate", "/1"])
def test_a_registered_model(place, registered, monkeypatch, tmp_path, elsewhere, reference):
    monkeypatch.setenv("CFT_HOME", str(registered.path))
    encoder = open_encoder(f"models:/cft-embedder{reference}", device="cpu")
    tuned = open_encoder(place / "run", device="cpu")
    equal(encoder, tuned)
    assert (encoder.name, encoder.revision) == ("cft-embedder/1", tuned.revision)
    other = save_backbone(tmp_path / "other", seed=1)
    with pytest.raises(CftError, match="backbone_digest"):
        open_encoder(f"models:/cft-embedder{reference}", backbone=other)


@pytest.mark.parametrize("reference", ["cft-embedder@champion", "cft-embedder/7", "none@champion"])
def test_what_is_not_registered(registered, monkeypatch, reference):
    monkeypatch.setenv("CFT_HOME", str(registered.path))
    with pytest.raises(CftError, match=f"models:/{reference}: not found in the registry") as caught:
        open_encoder(f"models:/{reference}")
    assert "\n" not in str(caught.value)


def truncate(path):
    path.write_bytes(path.read_bytes()[:5000])


def other_base(place):
    shutil.rmtree(place / "backbone")
    save_backbone(place / "backbone", seed=1)
    return "run"


def no_base(place):
    shutil.rmtree(place / "backbone")
    path = place / "run" / "adapter" / "adapter_config.json"
    gone = {"base_model_name_or_path": str(place / "gone")}
    path.write_text(json.dumps(json.loads(path.read_text()) | gone))
    return "run"


def unfinished(place):
    shutil.rmtree(place / "run" / "adapter")
    return "run"


def cut_adapter(place):
    truncate(place / "run" / "adapter" / "adapter_model.safetensors")
    return "run"


def cut_backbone(place):
    truncate(place / "backbone" / "model.safetensors")
    return "backbone"


def cut_theirs(place):
    truncate(place / "theirs" / "model.safetensors")
    return "theirs"


def empty(place):
    (place / "empty").mkdir()
    return "empty"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (other_base, "backbone_digest .*use the backbone that the adapter was trained on"),
        (no_base, "an adapter needs its backbone .it was trained on .* give --backbone DIR"),
        (unfinished, "a run without an adapter"),
        (cut_adapter, "adapter_model.safetensors: damaged"),
        (cut_backbone, "weights cannot be loaded"),
        (cut_theirs, "sentence-transformers cannot load it .* fetch the folder again"),
        (empty, "neither a model nor a run"),
    ],
)
def test_what_does_not_open_is_one_line(place, tmp_path, damage, message):
    here = tmp_path / "here"
    shutil.copytree(place, here)
    spec = here / "run" / "spec.json"
    spec.write_text(json.dumps({"backbone": str(here / "backbone")}))
    with pytest.raises(CftError, match=message) as caught:
        open_encoder(here / damage(here))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("which", ["backbone", "theirs"])
@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda:99", "this machine has none; use auto or cpu"), ("gpu", "unknown; use auto, cpu")],
)
def test_a_device_that_is_not_there(place, which, device, message):
    with pytest.raises(CftError, match=f"device {device}: {message}"):
        open_encoder(place / which, device=device)


def test_names_and_paths_that_are_not_there(monkeypatch, tmp_path, place):
    with pytest.raises(CftError, match="no such folder"):
        open_encoder("./missing")
    (tmp_path / "pretrained").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CftError, match="pretrained/sarvam1: no such folder"):
        open_encoder("pretrained/sarvam1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CftError, match="owner/name: sentence-transformers cannot load it"):
        open_encoder("owner/name")
    for whole in ("run", "run/adapter", "theirs"):
        with pytest.raises(CftError, match="an adapter goes on a backbone"):
            open_encoder(place / whole, adapter=place / "run" / "adapter")
