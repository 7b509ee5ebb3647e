"""The trainer: every option end to end, one forward, no waiting, no silent accumulation."""

import sys

import pytest
import torch
from pydantic import ValidationError
from transformers import LlamaForCausalLM, TrainingArguments

from cft.errors import CftError
from cft.recipe import TrainRecipe
from cft.tracking.run_directory import RunDirectory
from cft.training.trainer import training_arguments
from tests.training import TRAIN, Workshop, metrics, trainable


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return Workshop(tmp_path_factory.mktemp("trainer"))


OPTIONS = {
    "plain": {},
    "margin": {"false_negative_margin": -0.1},
    "squares": {"query_query_negatives": True, "document_document_negatives": True},
    "matryoshka": {"matryoshka_dims": [8, 16]},
    "learned temperature": {"learn_temperature": True},
    "all, by micro-packs": {
        "false_negative_margin": -0.1, "query_query_negatives": True, "learn_temperature": True,
        "document_document_negatives": True, "matryoshka_dims": [8], "micro_batch_tokens": 60,
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "ways"), [("plain", 1), *((name, 2) for name in sorted(OPTIONS))])
def test_every_option_trains(workshop, name, ways):
    """On all rows at once, so that the losses of two steps can be compared."""
    rows = 43
    options = {"max_steps": 20, "save_steps": 100, "batch_size": rows, **OPTIONS[name]}
    values = metrics(workshop.trained(f"{name} {ways}", ways=ways, dropout=0.0, **options))
    curve = [one["train/loss"] for one in values]
    assert len(curve) == 20
    assert sum(curve[-3:]) < 0.9 * sum(curve[:3])
    squares = 2 * (rows - 1) if "squares" in name or "all" in name else 0
    for one in values:
        every = one["train/negatives_per_query"] * rows + one["train/masked_negatives"]
        assert every == pytest.approx(rows * (rows * (1 + ways) - 1 + squares))
        assert ("train/temperature" in one) == ("temp" in name or "all" in name)


def same(one, other, **tolerance):
    first, second = trainable(one), trainable(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], msg=name, **tolerance)


def test_one_micro_pack_trains_bit_for_bit_as_the_direct_way(workshop):
    """With dropout: both ways draw the same masks."""
    direct = workshop.trained("direct", learn_temperature=True)
    cached = workshop.trained("whole", learn_temperature=True, micro_batch_tokens=10**6)
    same(cached, direct, atol=0, rtol=0)
    curves = [[one["train/loss"] for one in metrics(run)] for run in (direct, cached)]
    assert curves[0] == curves[1]


def test_global_batch_size_replaces_the_batch_size(workshop):
    """And its micro-packs see all its negatives."""
    small = workshop.trained("global", global_batch_size=30, micro_batch_tokens=40, max_steps=1)
    (values,) = metrics(small)
    every = values["train/negatives_per_query"] * 30 + values["train/masked_negatives"]
    assert every == pytest.approx(30 * 59)
    assert TrainRecipe(global_batch_size=30).batch_size_for(5) == 6
    with pytest.raises(CftError, match=r"global_batch_size: 30 triplets .* multiple of 4"):
        TrainRecipe(global_batch_size=30).batch_size_for(4)


def test_almost_every_entry_of_the_adapter_moves_in_ten_steps(workshop):
    """At the default learning rate, over a backbone in half precision."""
    trainer = workshop.trainer(
        "ten", dtype=torch.bfloat16, max_steps=10, learning_rate=5e-5, save_steps=100
    )
    start = trainable(trainer)
    trainer.train()
    for name, value in trainable(trainer).items():
        assert value.dtype == torch.float32
        assert (value != start[name]).float().mean() > 0.99, name


def test_one_forward_without_head_or_all_hidden_states(workshop, monkeypatch):
    trainer = workshop.trainer("forwards", max_steps=3)
    assert not any("lm_head" in name for name, _ in trainer.model.named_modules())
    monkeypatch.setattr(LlamaForCausalLM, "forward", lambda *a, **k: pytest.fail("a head"))
    outputs = []
    backbone = trainer.embedder.backbone.get_base_model()
    backbone.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    trainer.train()
    assert len(outputs) == 3
    assert {tuple(output.keys()) for output in outputs} == {("last_hidden_state",)}


WAITS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__")
# The optimiser of a CPU keeps its step counters there, and reads them; on a GPU it does not.
ALLOWED = ("torch/optim/",)


@pytest.mark.parametrize("options", [{}, OPTIONS["all, by micro-packs"]], ids=["direct", "cached"])
def test_the_host_never_waits_between_two_logs(workshop, monkeypatch, options):
    trainer = workshop.trainer("waits", max_steps=9, logging_steps=5, save_steps=100, **options)
    looks: dict[int, set[str]] = {}

    def watched(name):
        original = getattr(torch.Tensor, name)

        def method(self, *args, **kwargs):
            frame = sys._getframe(1)
            place = f"{frame.f_code.co_filename}:{frame.f_lineno} {name}"
            if not any(one in place for one in ALLOWED):
                looks.setdefault(trainer.state.global_step, set()).add(place)
            return original(self, *args, **kwargs)

        return method

    for name in WAITS:
        monkeypatch.setattr(torch.Tensor, name, watched(name))
    trainer.train()
    monkeypatch.undo()
    # The first step, every fifth and the last are logged, after the step was counted.
    assert {1, 5, 9} <= looks.keys(), "the watch sees nothing"
    between = {step: looks[step] for step in looks.keys() - {0, 1, 5, 9}}
    assert not between
    logged = {place for step in (5, 9) for place in looks[step]}
    assert any("transformers/trainer.py" in place for place in logged)


def test_no_setting_accumulates_gradients(workshop, monkeypatch):
    """Accumulated batches would look like a large batch and miss its negatives."""
    with pytest.raises(ValidationError, match="gradient_accumulation_steps"):
        TrainRecipe(gradient_accumulation_steps=4)
    expected = workshop.trained("once")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    trainer = workshop.trained("environment")
    assert trainer.args.gradient_accumulation_steps == 1
    assert trainer.accelerator.gradient_accumulation_steps == 1
    same(trainer, expected, atol=0, rtol=0)


def test_one_process_takes_one_gpu_of_many(monkeypatch, tmp_path):
    """Else transformers would wrap the model in DataParallel, which cuts packs up."""

    def of_a_host_with_four(self) -> int:
        return self.__dict__.setdefault("_n_gpu", 4)

    monkeypatch.setattr(TrainingArguments, "n_gpu", property(of_a_host_with_four))
    monkeypatch.setattr(TrainingArguments, "__post_init__", lambda self: None)
    assert training_arguments(TRAIN, RunDirectory(tmp_path), "cuda").n_gpu == 1


def test_temperature_is_trained_without_decay_and_kept_out_of_the_adapter(workshop, tmp_path):
    from cft.model.lora import save_adapter

    trainer = workshop.trainer("no decay", learn_temperature=True, weight_decay=0.5)
    start = float(trainer.temperature())
    trainer.train()
    scale = trainer.temperature.log_scale
    decays = {
        group["weight_decay"]
        for group in trainer.optimizer.param_groups
        for one in group["params"]
        if one is scale
    }
    assert decays == {0.0}
    assert {group["weight_decay"] for group in trainer.optimizer.param_groups} == {0.0, 0.5}
    values = [one["train/temperature"] for one in metrics(trainer)]
    assert values[-1] == float(trainer.temperature()) != pytest.approx(start, rel=1e-3)
    save_adapter(trainer.embedder.backbone, tmp_path / "adapter", trainer.embedder.contract)
    for path in (tmp_path / "adapter").iterdir():
        assert b"log_scale" not in path.read_bytes()


def test_a_learned_temperature_stays_in_its_range(workshop):
    """At a rate at which one update leaves it."""
    trainer = workshop.trained(
        "range", learn_temperature=True, temperature=0.5, learning_rate=1.0, max_steps=12
    )
    values = [one["train/temperature"] for one in metrics(trainer)]
    assert all(0.01 - 1e-6 <= one <= 1 + 1e-6 for one in values)
    assert max(values) == pytest.approx(1)
    with pytest.raises(ValidationError, match=r"temperature \(0.001\) must be in"):
        TrainRecipe(learn_temperature=True, temperature=0.001)
