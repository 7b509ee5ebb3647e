"""The rows of a step depend on seed and step alone, and every text of a batch is packed once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cft.errors import CftError
from cft.model import attention
from cft.model.embedder import Embedder
from cft.model.lora import attach_lora
from cft.recipe import LoraRecipe
from cft.training.batches import BatchLoader, collate, rows_of_step, share_of
from cft.training.objective import contrastive_loss
from tests.tiny import byte_tokenizer, contract, tiny_model, tiny_store


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 50), batch=st.integers(1, 60), seed=st.integers(0, 5))
def test_steps_are_the_epochs_laid_end_to_end(rows, batch, seed):
    steps = 7
    stream = np.concatenate([rows_of_step(seed, step, rows, batch) for step in range(steps)])
    assert len(stream) == steps * batch
    for start in range(0, len(stream) - rows + 1, rows):
        assert sorted(stream[start : start + rows]) == list(range(rows))
    np.testing.assert_array_equal(rows_of_step(seed, steps - 1, rows, batch), stream[-batch:])


def test_epochs_and_seeds_differ():
    first, second = (rows_of_step(1, step, 100, 100) for step in (0, 1))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, rows_of_step(2, 0, 100, 100))


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_shares_are_the_global_batch(world):
    rows_G = rows_of_step(0, 3, 41, 10)
    shares = [share_of(rows_G, rank, world) for rank in range(world)]
    np.testing.assert_array_equal(np.concatenate(shares), rows_G)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("prompts", [("", ""), ("same ", "same "), ("query: ", "")])
@pytest.mark.parametrize("ways", [1, 3])
def test_batch_points_at_the_right_tokens(tmp_path, ways, prompts):
    terms = contract(query_prompt=prompts[0], document_prompt=prompts[1])
    store = tiny_store(tmp_path / "store", rows=30, texts=9, ways=ways, terms=terms)
    rows_B = rows_of_step(0, 0, 30, 12)
    batch = collate(store, rows_B, step=5)
    ids = store.triplet_ids(rows_B)
    ids_BC = np.column_stack([ids[0], ids[1], ids[2]])
    if prompts[0] == prompts[1]:
        assert batch.packed.texts == len(np.unique(ids_BC))
    else:
        assert batch.packed.texts == len(np.unique(ids_BC[:, 0])) + len(np.unique(ids_BC[:, 1:]))
    starts = batch.packed.borders.tolist()
    columns = torch.cat([batch.anchor_B[:, None], batch.positive_B[:, None], batch.negative_BK], 1)
    tokenizer = byte_tokenizer()
    for row, places in zip(ids_BC.tolist(), columns.tolist(), strict=True):
        for column, (id, place) in enumerate(zip(row, places, strict=True)):
            packed = batch.packed.ids_T[starts[place] : starts[place + 1]]
            prompt = prompts[0] if column == 0 else prompts[1]
            np.testing.assert_array_equal(
                packed, terms.tokenize(tokenizer, [store.text(id)], prompt)[0]
            )
    np.testing.assert_array_equal(batch.anchor_ids_B, ids[0])
    np.testing.assert_array_equal(batch.positive_ids_B, ids[1])
    np.testing.assert_array_equal(batch.negative_ids_BK, ids[2])
    every = store.triplet_ids(np.arange(store.rows))
    for id, known in zip(batch.anchor_ids_B, batch.known_positive_ids_BP, strict=True):
        assert set(known.tolist()) == set(every[1][every[0] == int(id)].tolist())


def test_loader_starts_anywhere_and_gives_the_same_batches(tmp_path):
    store = tiny_store(tmp_path / "store")
    whole = [one["batch"] for one in BatchLoader(store, 3, 9, 7, rank=1, world_size=2)]
    later = BatchLoader(store, 3, 9, 7, rank=1, world_size=2)
    later.first_step = 6
    resumed = [one["batch"] for one in later]
    assert [batch.step for batch in resumed] == [6, 7, 8]
    for one, other in zip(whole[6:], resumed, strict=True):
        assert torch.equal(one.packed.ids_T, other.packed.ids_T)
        assert torch.equal(one.anchor_ids_B, other.anchor_ids_B)


def test_loader_has_no_labels_and_full_batches_only(tmp_path):
    for step in BatchLoader(tiny_store(tmp_path / "s", rows=7), 5, 20, 0, rank=0, world_size=1):
        assert set(step) == {"batch"}
        assert step["batch"].triplets == 5


def test_less_data_than_a_batch_is_refused(tmp_path):
    with pytest.raises(CftError, match=r"4 triplets on each of 2 processes, 8 in all, .* has 7"):
        BatchLoader(tiny_store(tmp_path / "s", rows=7), 4, 20, 0, rank=0, world_size=2)


def test_one_forward_equals_three(tmp_path):
    """Loss and adapter gradients of the pack are those of three padded forwards."""
    store = tiny_store(tmp_path / "store", rows=12, texts=20)
    rows_B = np.arange(12)
    batch = collate(store, rows_B, step=0)
    ids = store.triplet_ids(rows_B)
    wanted = LoraRecipe(r=4, dropout=0.0, target_modules=["q_proj", "v_proj", "down_proj"])

    def gradients(kind, loss_of):
        model = attach_lora(tiny_model("llama", kind), wanted, seed=1).train()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:  # at zero, A would have no gradient
                    parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
        loss = loss_of(model)
        loss.backward()
        return loss, {name: p.grad for name, p in model.named_parameters() if p.requires_grad}

    def packed(model):
        return contrastive_loss(Embedder(model, contract())(batch.packed), batch, 0.05, False).loss

    def three(model):
        columns = []
        for column in (ids[0], ids[1], ids[2][:, 0]):
            sequences = [torch.tensor(store.tokens(int(id)).tolist()) for id in column]
            ids_BL = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=2)
            lengths_B = torch.tensor([len(one) for one in sequences])
            keep_BL = torch.arange(ids_BL.shape[1]) < lengths_B[:, None]
            hidden = model(input_ids=ids_BL, attention_mask=keep_BL.long(), use_cache=False)
            last_BD = hidden.last_hidden_state[torch.arange(len(sequences)), lengths_B - 1]
            columns.append(torch.nn.functional.normalize(last_BD, dim=-1))
        logits_BC = columns[0] @ torch.cat(columns[1:]).T / 0.05
        return torch.nn.functional.cross_entropy(logits_BC, torch.arange(12))

    loss, mine = gradients(attention.NAME, packed)
    expected, theirs = gradients("sdpa", three)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    for name, gradient in theirs.items():
        assert gradient.any(), name
        torch.testing.assert_close(mine[name], gradient, atol=1e-4, rtol=1e-4, msg=name)
