"""Packed equals alone equals padded, for every architecture, attention, pooling and mode."""

import numpy as np
import pytest
import torch

from cft.model import attention
from cft.model.attention import AttentionPlan
from cft.model.backbone import load_backbone
from cft.model.compiled import compile_layers
from cft.model.embedder import Embedder
from cft.model.last_layer import heed_read_rows
from cft.model.packing import BUCKET_RATIO, pack
from tests.tiny import (
    CONFIGS,
    EOS_ID,
    PAD_ID,
    contract,
    random_sequences,
    save_backbone,
    tiny_model,
)

SEQUENCES = random_sequences(9, seed=3)
KINDS = sorted(CONFIGS)


def padded_reference(model, sequences, left: bool, causal: bool, pooling: str) -> torch.Tensor:
    """The plain way: one padded batch, an attention mask, true positions, no packing code."""
    longest = max(len(one) for one in sequences)
    ids_UL = torch.full((len(sequences), longest), PAD_ID)
    keep_UL = torch.zeros(len(sequences), longest, dtype=torch.bool)
    for row, one in enumerate(sequences):
        place = slice(longest - len(one), None) if left else slice(0, len(one))
        ids_UL[row, place] = torch.from_numpy(one).long()
        keep_UL[row, place] = True
    positions_UL = (keep_UL.cumsum(1) - 1).clamp(min=0)
    # Padding may see anything: nobody reads it, and an empty row would be NaN.
    seen_U1LL = keep_UL[:, None, None, :] | ~keep_UL[:, None, :, None]
    if causal:
        seen_U1LL = seen_U1LL & torch.ones(longest, longest).tril().bool()
        seen_U1LL = seen_U1LL | torch.eye(longest).bool()
    hidden_ULD = model(
        input_ids=ids_UL, attention_mask=seen_U1LL, position_ids=positions_UL, use_cache=False
    ).last_hidden_state
    pooled = [
        states[keep][-1] if pooling == "last" else states[keep].mean(0)
        for states, keep in zip(hidden_ULD, keep_UL, strict=True)
    ]
    return torch.nn.functional.normalize(torch.stack(pooled), dim=-1)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_alone_and_padded_agree(kind, causal, pooling, training):
    terms = contract(attention="causal" if causal else "bidirectional", pooling=pooling)
    embedder = Embedder(tiny_model(kind, attention.NAME), terms).train(training)
    plain = tiny_model(kind).train(training)
    together = embedder(pack(SEQUENCES))
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(len(SEQUENCES)))
    for left in (False, True):
        reference = padded_reference(plain, SEQUENCES, left, causal, pooling)
        torch.testing.assert_close(together, reference, atol=1e-5, rtol=0)
    alone = torch.cat([embedder(pack([one])) for one in SEQUENCES])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    order = torch.randperm(len(SEQUENCES), generator=torch.Generator().manual_seed(1))
    shuffled = embedder(pack([SEQUENCES[i] for i in order]))
    torch.testing.assert_close(shuffled, together[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("left", [False, True])
def test_ids_that_look_like_padding_are_ordinary_tokens(left, pooling):
    """Which positions count comes from lengths, never from a comparison with a special id."""
    sequences = [
        np.array(ids, dtype=np.int32)
        for ids in (
            [9, EOS_ID, 7, EOS_ID],
            [PAD_ID, 5, PAD_ID, PAD_ID, EOS_ID],
            [EOS_ID] * 3,
            [4, 0],
        )
    ]
    terms = contract(pooling=pooling)
    together = Embedder(tiny_model("llama", attention.NAME), terms)(pack(sequences))
    reference = padded_reference(tiny_model("llama"), sequences, left, True, pooling)
    torch.testing.assert_close(together, reference, atol=1e-5, rtol=0)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_those_of_the_padded_forward(kind, causal):
    terms = contract(attention="causal" if causal else "bidirectional", pooling="mean")
    packed_model, plain = tiny_model(kind, attention.NAME), tiny_model(kind)
    weight = torch.randn(len(SEQUENCES), 32, generator=torch.Generator().manual_seed(2))
    (Embedder(packed_model, terms)(pack(SEQUENCES)) * weight).sum().backward()
    (padded_reference(plain, SEQUENCES, False, causal, "mean") * weight).sum().backward()
    for (name, mine), other in zip(
        packed_model.named_parameters(), plain.parameters(), strict=True
    ):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-4, rtol=1e-4, msg=name)


def test_a_text_is_blind_to_its_neighbours():
    embedder = Embedder(tiny_model("llama", attention.NAME), contract(attention="bidirectional"))
    one, other = random_sequences(2, seed=9)
    first = embedder(pack([SEQUENCES[0], one, other]))[0]
    second = embedder(pack([SEQUENCES[0], other, one, one]))[0]
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)


def test_half_precision_stays_close_and_ends_in_float32():
    exact = Embedder(tiny_model("llama", attention.NAME), contract())(pack(SEQUENCES))
    half = Embedder(tiny_model("llama", attention.NAME).bfloat16(), contract())(pack(SEQUENCES))
    assert half.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(exact, half).min() > 0.999


def test_plan_covers_every_token_once_with_little_padding():
    sequences = random_sequences(200, seed=5, longest=150)
    packed = pack(sequences)
    buckets = packed.buckets
    assert packed.tokens == sum(map(len, sequences))
    assert packed.longest == max(map(len, sequences))
    np.testing.assert_array_equal(buckets.token_P[buckets.place_T], np.arange(packed.tokens))
    assert len(buckets.place_T.unique()) == packed.tokens
    assert len(buckets.token_P) - len(buckets.padding) == packed.tokens
    assert len(buckets.token_P) <= BUCKET_RATIO * packed.tokens
    assert sum(bucket.size for bucket in buckets.items) == len(sequences)
    starts = packed.borders[:-1].long()
    for start, one in zip(starts, sequences, strict=True):
        end = start + len(one)
        np.testing.assert_array_equal(packed.ids_T[start:end], one)
        np.testing.assert_array_equal(packed.positions_T[start:end], np.arange(len(one)))
    np.testing.assert_array_equal(packed.ids_T[packed.last_U], 0)


def test_empty_packs_are_refused():
    for bad in ([], [np.array([], dtype=np.int32)]):
        with pytest.raises(ValueError, match="at least one sequence"):
            pack(bad)


def test_layout_and_its_removal_have_exact_gradients():
    packed = pack([np.ones(n, dtype=np.int32) for n in (3, 1, 5, 3)])
    q, k, v = (
        torch.randn(12, heads, 4, dtype=torch.float64, requires_grad=True) for heads in (4, 2, 2)
    )
    for causal in (True, False):
        plan = AttentionPlan.of(packed, causal)
        torch.autograd.gradcheck(
            lambda q, k, v, plan=plan: attention._bucketed(q, k, v, plan, None), (q, k, v)
        )


def test_a_model_called_without_borders_is_an_error():
    with pytest.raises(ValueError, match="attention_plan"):
        tiny_model("llama", attention.NAME)(input_ids=torch.tensor([[3, 4]]))


def test_a_backbone_with_another_attention_is_an_error():
    with pytest.raises(ValueError, match="must be 'cft_packed'"):
        Embedder(tiny_model("llama", "sdpa"), contract())(pack(SEQUENCES))


def test_short_sliding_window_is_refused(tmp_path):
    import json

    from cft.errors import CftError

    folder = save_backbone(tmp_path / "b")
    load_backbone(folder, max_length=64)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    config["sliding_window"] = 32
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CftError, match="sliding window of 32 tokens is shorter than max_length 64"):
        load_backbone(folder, max_length=64)
    assert load_backbone(folder, max_length=32).config._attn_implementation == attention.NAME


def test_fewer_positions_than_tokens_are_refused(tmp_path):
    from cft.errors import CftError

    with pytest.raises(CftError, match="256 positions are fewer than max_length 300"):
        load_backbone(save_backbone(tmp_path / "b"), max_length=300)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma"])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_rows_that_nobody_reads_change_nothing(kind, checkpointed):
    """The last layer's MLP at the pooled positions alone, against all positions."""
    packed = pack(random_sequences(9, seed=4))
    found = []
    for read_U in (None, packed.last_U):
        model = tiny_model(kind, attention.NAME).train()
        names = [name for name, _ in model.named_parameters()]
        assert heed_read_rows(model)
        assert [name for name, _ in model.named_parameters()] == names
        if checkpointed:
            model.gradient_checkpointing_enable()
        seen = []
        model.layers[-1].mlp.down_proj.register_forward_pre_hook(
            lambda module, inputs, seen=seen: seen.append(inputs[0].shape[1])
        )
        states_1TD = model(
            input_ids=packed.ids_T[None],
            position_ids=packed.positions_T[None],
            use_cache=False,
            attention_plan=AttentionPlan.of(packed, causal=True, read_U=read_U),
        ).last_hidden_state
        pooled_UD = states_1TD[0, packed.last_U]
        pooled_UD.square().sum().backward()
        assert set(seen) == {packed.tokens if read_U is None else packed.texts}
        found.append([pooled_UD, *(one.grad for one in model.parameters())])
    for all_rows, read_rows in zip(*found, strict=True):
        # Sums over other numbers of rows round in another order, on each number of threads.
        torch.testing.assert_close(read_rows, all_rows, rtol=1e-5, atol=1e-5)


def test_compiled_layers_give_the_same_embeddings_for_packs_of_any_size():
    model = tiny_model("llama", attention.NAME)
    embedder = Embedder(model, contract())
    packs = [pack(random_sequences(count, seed=count)) for count in (5, 17)]
    with torch.inference_mode():
        eager = [embedder(one) for one in packs]
        assert compile_layers(model, backend="eager") == 2
        compiled = [embedder(one) for one in packs]
    for one, other in zip(eager, compiled, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


def test_a_model_without_layers_cannot_be_compiled():
    with pytest.raises(ValueError, match="Linear has no decoder layers"):
        compile_layers(torch.nn.Linear(2, 2))
