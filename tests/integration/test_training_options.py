"""Ranks that train by micro-packs with every option: the same numbers, killed or not."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from cft.training.checkpoint_folders import newest_checkpoint
from tests.integration.launched import Inputs, finish, kill_all, losses, start, tail, wait_for
from tests.tiny import tiny_store

pytestmark = pytest.mark.integration

OPTIONS = {
    "batch_size": 1, "global_batch_size": 12, "micro_batch_tokens": 90, "max_steps": 8,
    "learn_temperature": True, "matryoshka_dims": [8], "false_negative_margin": -0.2,
    "query_query_negatives": True, "document_document_negatives": True,
}  # fmt: skip


class TwoHardNegatives(Inputs):
    """The same backbone, and a store with two hard negatives for every pair."""

    def __init__(self, folder):
        super().__init__(folder)
        terms = self.contract
        tiny_store(folder / "more", rows=43, texts=60, ways=2, terms=terms)
        (folder / "store").rename(folder / "fewer")
        (folder / "more").rename(folder / "store")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return TwoHardNegatives(tmp_path_factory.mktemp("options"))


@pytest.fixture(scope="module")
def two_ranks(inputs):
    run = inputs.run("two", **OPTIONS)
    assert finish(run) == 0, tail(run)
    return run


def values(run):
    return [one["values"] for one in run.read_events()[0] if one["kind"] == "metric"]


def test_one_process_draws_the_same_curve(inputs, two_ranks):
    """Whatever the cut: two ranks with several micro-packs each, one with all at once."""
    run = inputs.run("one", world=1, **OPTIONS | {"micro_batch_tokens": None})
    assert finish(run, world=1) == 0, tail(run)
    np.testing.assert_allclose(losses(run), losses(two_ranks), atol=1e-4)
    for one, other in zip(values(run), values(two_ranks), strict=True):
        for name in ("negatives_per_query", "masked_negatives"):
            assert one[f"train/{name}"] == other[f"train/{name}"]
        assert one["train/temperature"] == pytest.approx(other["train/temperature"], rel=1e-5)
        # Positives, two hard negatives, queries and positives of the others.
        every = 12 * one["train/negatives_per_query"] + one["train/masked_negatives"]
        assert every == pytest.approx(12 * (12 * 3 - 1 + 2 * 11))
    assert values(run)[-1]["train/temperature"] != pytest.approx(0.05, rel=1e-2)
    for name, value in load_file(run.adapter / "adapter_model.safetensors").items():
        other = load_file(two_ranks.adapter / "adapter_model.safetensors")[name]
        np.testing.assert_allclose(value, other, atol=2e-3)
    assert not any("scale" in name or "temperature" in name
                   for name in load_file(run.adapter / "adapter_model.safetensors"))  # fmt: skip
    assert "temperature.safetensors" not in {path.name for path in run.adapter.iterdir()}


def test_killed_and_resumed_is_undisturbed(inputs):
    """With dropout, whose masks every micro-pack draws twice."""
    options = OPTIONS | {"max_steps": 40}
    whole, broken = (inputs.run(name, lora={"dropout": 0.2}, **options) for name in ("a", "b"))
    assert finish(whole) == 0, tail(whole)
    process = start(broken, 2)
    wait_for(lambda: newest_checkpoint(broken), process)
    kill_all(process)
    assert not broken.adapter.exists()
    assert finish(broken) == 0, tail(broken)
    for name in ("adapter_model.safetensors", "adapter_config.json", "text_contract.json"):
        assert (broken.adapter / name).read_bytes() == (whole.adapter / name).read_bytes()
    last = [
        run.checkpoints / "checkpoint-40" / "temperature.safetensors" for run in (whole, broken)
    ]
    assert last[0].read_bytes() == last[1].read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_batch_size": 13}, "global_batch_size: 13 triplets cannot be shared equally"),
        ({"matryoshka_dims": [64]}, "matryoshka_dims: 64 exceeds the 32 dimensions"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(inputs, options, message):
    run = inputs.run(f"refused {next(iter(options))}", **OPTIONS | options)
    assert finish(run) != 0
    status = run.read_status()
    assert (status["state"], status["exit_code"]) == ("failed", 2)
    assert message in status["error"]
    assert not run.adapter.exists()
