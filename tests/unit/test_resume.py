"""A resumed training is the undisturbed one, and reads no code from a checkpoint."""

import pickle
from pathlib import Path

import pytest
import torch

from cft.errors import CftError
from cft.model.text_contract import TextContract
from tests.training import Workshop, metrics, trainable

OPTIONS = {
    "learn_temperature": True, "micro_batch_tokens": 70, "matryoshka_dims": [8],
    "query_query_negatives": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return Workshop(tmp_path_factory.mktemp("resume"))


@pytest.fixture
def half(workshop, request):
    """A training of six steps and its checkpoint after three."""
    trainer = workshop.trained(f"run {request.node.name}", **OPTIONS)
    return trainer, trainer.run.checkpoints / "checkpoint-3"


def test_resumed_is_undisturbed_to_the_last_bit(workshop, half):
    whole, checkpoint = half
    resumed = workshop.trainer("resumed", **OPTIONS)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    expected = trainable(whole)
    assert "temperature.log_scale" in expected
    for name, value in trainable(resumed).items():
        assert torch.equal(value, expected[name]), name
    names = ("train/loss", "train/temperature", "train/grad_norm")
    for one, other in zip(metrics(resumed), metrics(whole)[3:], strict=True):
        assert [one[name] for name in names] == [other[name] for name in names]


def test_checkpoints_hold_tensors_numbers_and_json(half):
    _, checkpoint = half
    assert {path.name for path in checkpoint.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "text_contract.json",
        "temperature.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json",
    }  # fmt: skip
    for name in ("optimizer.pt", "scheduler.pt"):
        torch.load(checkpoint / name, weights_only=True)


class Payload:
    """Leaves a file behind when a pickle of it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt"])
def test_code_in_a_checkpoint_is_refused_and_never_run(workshop, half, tmp_path, name):
    _, checkpoint = half
    torch.save({"state": Payload(tmp_path / "ran")}, checkpoint / name)
    torch.load(checkpoint / name, weights_only=False)
    (tmp_path / "ran").unlink()  # it would have run
    with pytest.raises(pickle.UnpicklingError):
        workshop.trainer(f"poisoned {name}", **OPTIONS).train(
            resume_from_checkpoint=str(checkpoint)
        )
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_another_backbone_is_refused(workshop, half):
    _, checkpoint = half
    TextContract.load(checkpoint).model_copy(update={"backbone_digest": "0"}).save(checkpoint)
    with pytest.raises(CftError, match=r"checkpoint-3: the text contract .*backbone_digest"):
        workshop.trainer("other backbone", **OPTIONS).train(resume_from_checkpoint=str(checkpoint))


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_temperature_is_one_line(workshop, half, damage):
    _, checkpoint = half
    path = checkpoint / "temperature.safetensors"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CftError, match=r"temperature\.safetensors: cannot be read") as caught:
        workshop.trainer(f"damaged {damage}", **OPTIONS).train(
            resume_from_checkpoint=str(checkpoint)
        )
    assert "\n" not in str(caught.value)
