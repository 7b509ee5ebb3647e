"""The training process as it is really started: ``accelerate launch``, ranks over gloo, signals."""

import json
import signal
import time

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from cft.errors import CftError
from cft.model.encoder import Encoder
from cft.model.text_contract import TextContract
from cft.training.job import build_embedder
from cft.training.spec import TrainSpec
from tests.integration.launched import (
    Inputs,
    finish,
    kill_all,
    losses,
    start,
    stop,
    tail,
    wait_for,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return Inputs(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def two_ranks(inputs):
    run = inputs.run("two")
    assert finish(run) == 0, tail(run)
    return run


def test_two_ranks_train_and_the_loss_falls(two_ranks):
    status = two_ranks.read_status()
    assert (status["state"], status["exit_code"], status["world_size"]) == ("finished", 0, 2)
    assert status["ended"] > status["started"]
    curve = losses(two_ranks)
    assert len(curve) == 12
    assert curve[-3:].mean() < 0.92 * curve[:3].mean()
    events, _ = two_ranks.read_events()
    params = next(one["values"] for one in events if one["kind"] == "param")
    assert params["global_batch"] == 12
    assert params["train.learning_rate"] == 1e-2
    assert params["model.lora.r"] == 8
    values = [one["values"] for one in events if one["kind"] == "metric"]
    for name in (
        "learning_rate", "grad_norm", "negatives_per_query", "masked_negatives",
        "triplets_per_second", "tokens_per_second", "tokens",
    ):  # fmt: skip
        assert all(f"train/{name}" in one for one in values)
    for one in values:
        # Positives and hard negatives of both ranks; what is masked is missing.
        total = 12 * one["train/negatives_per_query"] + one["train/masked_negatives"]
        assert total == pytest.approx(12 * 23)
    assert any(one["train/masked_negatives"] > 0 for one in values)
    assert "world size 2, global batch 12 triplets" in "".join(two_ranks.last_log_lines(200))


def test_result_loads_and_nothing_is_a_pickle(inputs, two_ranks):
    texts = ["one text", "another text"]
    tuned = Encoder.load(inputs.backbone, two_ranks.adapter).encode(texts)
    base = Encoder.load(inputs.backbone, contract=TextContract.load(two_ranks.adapter))
    assert np.abs(tuned - base.encode(texts)).max() > 1e-2
    left = {path.name for path in two_ranks.path.rglob("*") if path.is_file()}
    assert "training_args.bin" not in left
    assert {path.name for path in two_ranks.checkpoints.iterdir()} == {
        "checkpoint-8",
        "checkpoint-12",
    }
    assert {path.name for path in two_ranks.adapter.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "text_contract.json",
    }


def test_one_process_draws_the_same_curve(inputs, two_ranks):
    run = inputs.run("one", world=1, batch_size=12)
    assert finish(run, world=1) == 0, tail(run)
    np.testing.assert_allclose(losses(run), losses(two_ranks), atol=1e-4)
    for name, value in load_file(run.adapter / "adapter_model.safetensors").items():
        other = load_file(two_ranks.adapter / "adapter_model.safetensors")[name]
        np.testing.assert_allclose(value, other, atol=2e-3)


def test_finished_run_is_not_trained_again(two_ranks):
    before = two_ranks.events.read_bytes()
    assert finish(two_ranks) == 0
    assert two_ranks.events.read_bytes() == before
    assert two_ranks.read_status()["state"] == "finished"


DISTURBED = {"lora": {"dropout": 0.2}, "max_steps": 10}


@pytest.fixture(scope="module")
def undisturbed(inputs):
    run = inputs.run("undisturbed", **DISTURBED)
    assert finish(run) == 0, tail(run)
    return run


@pytest.mark.parametrize("disturb", ["in a step", "while a checkpoint is written"])
def test_killed_and_resumed_is_undisturbed(inputs, undisturbed, disturb):
    whole, broken = undisturbed, inputs.run(f"killed {disturb}", **DISTURBED)
    process = start(broken, 2)
    if disturb == "in a step":
        wait_for(lambda: len(broken.read_events()[0]) >= 7, process)  # a param and six steps
    else:
        wait_for(lambda: any(broken.checkpoints.glob(".checkpoint-8.*")), process)
    kill_all(process)
    assert not broken.adapter.exists()
    assert broken.read_status()["state"] == "running"  # nobody was left to write another
    for folder in broken.checkpoints.glob("checkpoint-*"):
        names = {path.name for path in folder.iterdir()}
        assert {"adapter_model.safetensors", "optimizer.pt", "trainer_state.json"} <= names
        json.loads((folder / "trainer_state.json").read_text())
    assert finish(broken) == 0, tail(broken)
    notes = [one for one in broken.read_events()[0] if one["kind"] == "note"]
    assert notes[0]["text"].startswith("resuming from checkpoint-")
    for part in ("adapter_model.safetensors", "text_contract.json"):
        assert (broken.adapter / part).read_bytes() == (whole.adapter / part).read_bytes()
    assert not list(broken.checkpoints.glob(".*"))


def test_terminated_run_says_so_at_once(inputs):
    run = inputs.run("terminated", max_steps=5000, save_steps=5000)
    process = start(run, 2)
    wait_for(lambda: len(run.read_events()[0]) >= 3, process)
    began = time.monotonic()
    stop(process, signal.SIGTERM)
    assert time.monotonic() - began < 15
    assert process.returncode != 0
    status = run.read_status()
    assert (status["state"], status["signal"], status["exit_code"]) == ("killed", 15, 143)
    assert not run.adapter.exists()


@pytest.mark.parametrize("victim", ["launcher", "rank 1"])
def test_killing_one_process_ends_all(inputs, victim):
    run = inputs.run(f"killed {victim}", max_steps=5000, save_steps=5000)
    process = start(run, 2)
    wait_for(lambda: len(run.read_events()[0]) >= 3, process)
    ranks = [
        one
        for one in psutil.Process(process.pid).children(recursive=True)
        if "cft.training.main" in one.cmdline()
    ]
    assert len(ranks) == 2
    (psutil.Process(process.pid) if victim == "launcher" else ranks[1]).kill()
    _, alive = psutil.wait_procs(ranks, timeout=30)
    assert not alive
    assert process.wait(timeout=60) != 0
    assert run.read_status()["state"] in {"killed", "failed"}
    assert not run.adapter.exists()


def test_stage_two_starts_at_the_weights_of_stage_one(inputs, two_ranks):
    run = inputs.run("second", init_adapter=str(two_ranks.adapter), stage="stage2", max_steps=4)
    start_model = build_embedder(TrainSpec.load(run.spec)).backbone
    stage_one = load_file(two_ranks.adapter / "adapter_model.safetensors")
    for name, parameter in start_model.named_parameters():
        if parameter.requires_grad:
            saved = stage_one[name.replace(".default", "")]
            np.testing.assert_array_equal(parameter.detach().numpy(), saved)
    assert finish(run) == 0, tail(run)
    # It goes on from where stage one ended, and the optimiser is fresh: warm-up begins at zero.
    assert losses(run)[0] < 0.95 * losses(two_ranks)[0]
    events, _ = run.read_events()
    assert events[1]["values"]["train/learning_rate"] == 0


def test_conflicting_adapter_is_refused(inputs, two_ranks):
    run = inputs.run("conflict", init_adapter=str(two_ranks.adapter), lora={"r": 4})
    with pytest.raises(CftError, match=r"model\.lora\.r: 4 is asked for"):
        build_embedder(TrainSpec.load(run.spec))


@pytest.mark.parametrize(
    ("name", "world", "options", "message"),
    [
        ("small", 1, {"batch_size": 50}, "50 in all, but"),
        ("ranks", 1, {}, "world_size is 2, but 1 ranks started"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(inputs, name, world, options, message):
    run = inputs.run(name, world=2 if name == "ranks" else 1, **options)
    assert finish(run, world) != 0
    status = run.read_status()
    assert (status["state"], status["exit_code"]) == ("failed", 2)
    assert message in status["error"]
    assert any(line.startswith("error: ") and message in line for line in run.last_log_lines(200))
    assert not run.adapter.exists()
    assert not list(run.checkpoints.glob("*")) if run.checkpoints.exists() else True


def test_infinite_loss_stops_and_names_the_texts(inputs):
    run = inputs.run("infinite", temperature=1e-45, max_steps=6)
    assert finish(run) != 0
    status = run.read_status()
    assert (status["state"], status["exit_code"]) == ("failed", 2)
    assert "loss of step 1 is not finite" in status["error"]
    note = next(one for one in run.read_events()[0] if one["kind"] == "note")
    assert note["step"] == 1
    assert len(note["anchor_ids"]) == len(note["positive_ids"]) == len(note["rows"]) == 12
    from cft.triplets.store import TokenStore

    store = TokenStore.open(inputs.folder / "store")
    anchors, *_ = store.triplet_ids(np.array(note["rows"]))
    assert anchors.tolist() == note["anchor_ids"]
    assert not run.adapter.exists()
