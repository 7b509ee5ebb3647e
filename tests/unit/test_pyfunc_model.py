"""The logged model: loadable from its folder alone, the encoder's vectors, no base weights."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.models import Model

from cft.errors import CftError
from cft.model.backbone import load_backbone
from cft.model.encoder import Encoder
from cft.model.identity import backbone_digest
from cft.model.lora import attach_lora, save_adapter
from cft.model.source import Source, fetched_from
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import ModelRecipe
from cft.tracking.registry import EXAMPLE, REQUIREMENTS, model_config, save_embedder
from tests.tiny import save_backbone

PIN = {"repo": "owner/name", "revision": "0123456789abcdef0123456789abcdef01234567"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fetched backbone, an adapter that changes it, and both as an MLflow model."""
    place = tmp_path_factory.mktemp("pyfunc")
    backbone, adapter = save_backbone(place / "backbone"), place / "adapter"
    (backbone / "source.json").write_text(json.dumps(PIN), encoding="utf-8")
    digest = backbone_digest(backbone)
    recipe = ModelRecipe(max_length=64)
    contract = TextContract.of(recipe, load_tokenizer(backbone), digest)
    tuned = attach_lora(load_backbone(backbone), recipe.lora, seed=3)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.2)
    save_adapter(tuned, adapter, contract)
    config = model_config(backbone, digest)
    save_embedder(place / "model", adapter=adapter, config=config, model=Model())
    return place


def test_it_gives_the_encoders_vectors(place: Path) -> None:
    loaded = mlflow.pyfunc.load_model(str(place / "model"), model_config={"device": "cpu"})
    encoder = Encoder.load(place / "backbone", place / "adapter", device="cpu")
    base = Encoder.load(place / "backbone", contract=encoder.contract, device="cpu")
    texts = [*EXAMPLE, "a", "रामः वनं गच्छति"]
    expected = encoder.encode(texts, progress=False)
    assert np.abs(expected - base.encode(texts, progress=False)).max() > 1e-2, "the adapter counts"
    np.testing.assert_allclose(loaded.predict(texts), expected, atol=1e-6, rtol=0)
    prompted = loaded.predict(texts, params={"prompt": "query: "})
    np.testing.assert_allclose(
        prompted, encoder.encode(texts, prompt="query: ", progress=False), atol=1e-6, rtol=0
    )
    example = loaded.input_example
    np.testing.assert_allclose(loaded.predict(example), expected[: len(EXAMPLE)], atol=1e-6)


def test_it_holds_the_adapter_and_the_code_and_no_base_weights(place: Path, tmp_path: Path) -> None:
    # One that nobody has loaded: Python leaves bytecode beside what it imports.
    model, config = tmp_path / "model", model_config(place / "backbone", "digest")
    save_embedder(model, adapter=place / "adapter", config=config, model=Model())
    weights = [path.relative_to(model) for path in model.rglob("*.safetensors")]
    assert weights == [Path("artifacts/adapter/adapter_model.safetensors")]
    own = sum(path.stat().st_size for path in (place / "adapter").iterdir())
    code = sum(path.stat().st_size for path in (model / "code").rglob("*") if path.is_file())
    total = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    assert total - own - code < 20_000
    assert not list(model.rglob("*.pkl"))
    assert not list(model.rglob("*.pyc"))


def test_it_says_what_it_needs(place: Path) -> None:
    found = Model.load(str(place / "model"))
    config = found.flavors["python_function"]["config"]
    assert config == {
        "backbone": str(place / "backbone"),
        "backbone_digest": backbone_digest(place / "backbone"),
        "backbone_repo": PIN["repo"],
        "backbone_revision": PIN["revision"],
    }
    assert found.signature is not None
    assert found.signature.params is not None
    assert [one.name for one in found.signature.params.params] == ["prompt"]
    needed = (place / "model" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {line.partition("==")[0] for line in needed} >= set(REQUIREMENTS)
    assert all("==" in line and "+" not in line for line in needed)


def test_a_backbone_that_is_gone_is_named_with_its_revision(place: Path) -> None:
    with pytest.raises(CftError) as error:
        mlflow.pyfunc.load_model(
            str(place / "model"), model_config={"backbone": str(place / "nowhere")}
        )
    assert f"cft model fetch owner/name --revision {PIN['revision']}" in str(error.value)
    other = save_backbone(place / "other", seed=1)
    with pytest.raises(CftError, match="was trained on"):
        mlflow.pyfunc.load_model(str(place / "model"), model_config={"backbone": str(other)})


def test_a_folder_that_was_not_fetched_has_no_pin(tmp_path: Path) -> None:
    assert fetched_from(tmp_path) is None
    for content in ("", "[]", "{}"):
        (tmp_path / "source.json").write_text(content, encoding="utf-8")
        assert fetched_from(tmp_path) is None
    (tmp_path / "source.json").write_text('{"repo": "owner/name"}', encoding="utf-8")
    assert fetched_from(tmp_path) == Source("owner/name", "")
    assert model_config(tmp_path, "d")["backbone_revision"] == ""
