"""A registered model that somebody has tampered with: nothing outside is read, nothing is run."""

import pickle
import shutil
from pathlib import Path

import mlflow
import pytest
import yaml

from cft.errors import CftError
from cft.evaluation.encoders import open_encoder
from cft.home import Home
from cft.model.backbone import load_backbone
from cft.model.identity import backbone_digest
from cft.model.lora import WEIGHTS_FILE, attach_lora, save_adapter
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import LoraRecipe, ModelRecipe
from cft.tracking import registry
from cft.tracking.registered import fetch_embedder
from cft.tracking.runs import Tracking
from tests.tiny import save_backbone

REFERENCE = "models:/cft-embedder@candidate"


class Payload:
    """Leaves a file behind when a pickle of it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A state folder with a registered model."""
    place = tmp_path_factory.mktemp("place")
    home, backbone = Home(place / "home"), save_backbone(place / "backbone")
    digest = backbone_digest(backbone)
    terms = TextContract.of(ModelRecipe(), load_tokenizer(backbone), digest)
    save_adapter(attach_lora(load_backbone(backbone), LoraRecipe(), 3), place / "adapter", terms)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking = Tracking.open(home, "cft")
        with tracking.run("r", role="two-stage", job="one") as run:
            uri = registry.log_embedder(
                run, adapter=place / "adapter", backbone=backbone, backbone_digest=digest
            )
        registry.register(tracking.client, uri, "cft-embedder", run_id=run.id, job="one", tags={})
    return home


@pytest.fixture
def model(made, monkeypatch):
    """Folder of the logged model in the artifact store, put back afterwards."""
    monkeypatch.setenv("CFT_HOME", str(made.path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (found,) = {path.parent for path in made.mlflow_artifacts.rglob("MLmodel")}
    kept = made.path / "kept"
    shutil.copytree(found, kept)
    yield found
    shutil.rmtree(found)
    kept.rename(found)
    mlflow.set_tracking_uri(None)


def adapter_path(model: Path, path: str) -> None:
    file = model / "MLmodel"
    content = yaml.safe_load(file.read_text())
    content["flavors"]["python_function"]["artifacts"]["adapter"]["path"] = path
    file.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("way", ["../../outside", "{outside}", "artifacts/../../../outside"])
def test_a_model_may_not_name_an_adapter_outside_of_itself(model, made, tmp_path, way):
    shutil.copytree(next(model.rglob(WEIGHTS_FILE)).parent, tmp_path / "outside")
    adapter_path(model, way.format(outside=tmp_path / "outside"))
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(CftError, match="names an adapter outside of it"):
        fetch_embedder(REFERENCE, made.local_tracking_uri, tmp_path / "a" / "b")


@pytest.mark.parametrize("kind", ["file", "folder", "broken"])
def test_a_link_in_an_artifact_is_refused(model, made, tmp_path, kind):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("private")
    target = {"file": secret / "key", "folder": secret, "broken": secret / "nothing"}[kind]
    (next(model.rglob(WEIGHTS_FILE)).parent / "more").symlink_to(target)
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    with pytest.raises(CftError, match=r"more is a link; nothing of this model is copied"):
        fetch_embedder(REFERENCE, made.local_tracking_uri, fetched)
    assert list(fetched.iterdir()) == []


def test_pickles_beside_the_weights_are_never_loaded(model, tmp_path):
    adapter, ran = next(model.rglob(WEIGHTS_FILE)).parent, tmp_path / "ran"
    for name in ("adapter_model.bin", "pytorch_model.bin", "training_args.bin", "python_model.pkl"):
        for folder in (adapter, model):
            (folder / name).write_bytes(pickle.dumps(Payload(ran)))
    pickle.loads((adapter / "adapter_model.bin").read_bytes())
    ran.unlink()  # it would have run
    assert open_encoder(REFERENCE, device="cpu").encode(["x"], progress=False).shape[0] == 1
    assert not ran.exists()


def test_weights_that_are_a_pickle_are_refused(model, tmp_path):
    weights, ran = next(model.rglob(WEIGHTS_FILE)), tmp_path / "ran"
    weights.write_bytes(pickle.dumps(Payload(ran)))
    with pytest.raises(CftError, match=WEIGHTS_FILE):
        open_encoder(REFERENCE, device="cpu")
    # Without the weights, PEFT's own loader would take the pickle in their place.
    weights.rename(weights.with_name("adapter_model.bin"))
    with pytest.raises(CftError, match=WEIGHTS_FILE):
        open_encoder(REFERENCE, device="cpu")
    assert not ran.exists()
