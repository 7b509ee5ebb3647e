"""Gradients by micro-packs are those of the one joint graph, dropout included."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.model.packing import pack
from cft.training.gradcache import cached_backward, cut, cuts, part
from cft.training.objective import contrastive_loss
from tests.cached import (
    assert_equal_steps,
    batch_of,
    cached,
    gradients,
    joint,
    micro_packs,
    trainee,
)
from tests.tiny import random_sequences, tiny_store

SIZES = [1, 3, "all", "40 tokens"]
ROWS = [9]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradcache") / "store"
    tiny_store(folder, rows=12, texts=20)
    return str(folder)


@settings(max_examples=80, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20), tokens=st.integers(1, 60))
def test_cuts_cover_all_texts_within_the_budget(lengths, tokens):
    bounds = cuts(np.array(lengths), tokens)
    assert [first for first, _ in bounds] == [0, *[end for _, end in bounds[:-1]]]
    assert bounds[-1][1] == len(lengths)
    for first, end in bounds:
        assert end > first
        assert sum(lengths[first:end]) <= tokens or end == first + 1
    for (first, end), (_, later) in pairwise(bounds):
        assert later > end
        assert sum(lengths[first : end + 1]) > tokens  # full: the next text had no room


def test_a_part_is_the_pack_of_its_texts():
    sequences = random_sequences(8, seed=4)
    packed = pack(sequences)
    for first, end in [(0, 3), (3, 4), (4, 8), (0, 8)]:
        mine, expected = part(packed, first, end), pack(sequences[first:end])
        for name in ("ids_T", "positions_T", "borders", "last_U"):
            assert torch.equal(getattr(mine, name), getattr(expected, name)), name
        np.testing.assert_array_equal(mine.lengths, expected.lengths)
    assert sum(one.tokens for one in cut(packed, 30)) == packed.tokens


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_joint_graph(store, size, dropout):
    batch = batch_of(store, ROWS)
    micro = micro_packs(batch.packed, size)
    assert (len(micro) == 1) == (size == "all")
    mine = cached(trainee(dropout), batch, micro, ROWS)
    assert_equal_steps(mine, joint(trainee(dropout), batch, micro, ROWS))


@pytest.mark.parametrize("size", SIZES)
def test_equals_the_direct_step_without_dropout(store, size):
    batch = batch_of(store, ROWS)
    mine = cached(trainee(0.0), batch, micro_packs(batch.packed, size), ROWS)
    assert_equal_steps(mine, joint(trainee(0.0), batch, [batch.packed], ROWS))


def test_replays_dropout_under_activation_checkpointing(store):
    batch = batch_of(store, ROWS)
    micro = micro_packs(batch.packed, 3)
    mine = cached(trainee(0.3, checkpointing=True), batch, micro, ROWS)
    assert_equal_steps(mine, joint(trainee(0.3), batch, micro, ROWS))


def test_dropout_matters_and_the_generator_goes_on_as_after_one_forward(store):
    batch = batch_of(store, ROWS)
    micro = micro_packs(batch.packed, 3)
    with_dropout = cached(trainee(0.3), batch, micro, ROWS)
    after = torch.rand(3)
    joint(trainee(0.3), batch, micro, ROWS)
    assert torch.equal(after, torch.rand(3))
    assert abs(with_dropout["loss"] - cached(trainee(0.0), batch, micro, ROWS)["loss"]) > 1e-3


def test_only_one_micro_pack_ever_has_a_graph(store):
    """The point of it all: what is kept for the way back does not grow with the batch."""
    kept: list[int] = []

    def peak(size) -> int:
        model, batch = trainee(0.0), batch_of(store, [12])
        kept.clear()
        alive, most = 0, 0

        def save(tensor):
            nonlocal alive, most
            alive += tensor.numel()
            most = max(most, alive)
            return tensor

        def load(tensor):
            nonlocal alive
            alive -= tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(save, load):
            cached_backward(
                model,
                micro_packs(batch.packed, size),
                lambda whole_UD: contrastive_loss(whole_UD, batch, 0.05, True, [12]),
            )
        return most

    assert peak(1) < 0.35 * peak("all")


def test_gradients_add_to_what_is_there(store):
    batch = batch_of(store, ROWS)
    model = trainee(0.0)
    micro = micro_packs(batch.packed, 3)

    def once():
        cached_backward(
            model,
            micro,
            lambda whole_UD: contrastive_loss(whole_UD, batch, model.temperature(), True, ROWS),
            list(model.temperature.parameters()),
        )
        return gradients(model)

    first, second = once(), once()
    for name, value in first.items():
        torch.testing.assert_close(second[name], 2 * value)
