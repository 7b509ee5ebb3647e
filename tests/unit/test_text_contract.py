"""Every text ends with EOS, nothing inside a text is special, and the contract survives a file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from cft.errors import CftError
from cft.model.text_contract import TextContract, tokenizer_digest
from cft.recipe import ModelRecipe
from cft.text import normalise
from tests.tiny import BOS_ID, EOS_ID, byte_tokenizer, contract

TEXTS = ["", "a", "धर्मक्षेत्रे कुरुक्षेत्रे ॥", "x" * 500, "a </s> b <s> c <pad>"]


@pytest.mark.parametrize("text", TEXTS)
def test_eos_is_last_and_only_last(text):
    (ids,) = contract().tokenize(byte_tokenizer(), [text])
    assert ids.dtype == np.int32
    assert ids[-1] == EOS_ID
    assert not np.isin(ids[:-1], [EOS_ID, BOS_ID, 2]).any()
    assert len(ids) <= 64


def test_long_text_loses_its_end_and_keeps_eos():
    whole = contract(max_length=1000).tokenize(byte_tokenizer(), ["x" * 500])[0]
    cut = contract().tokenize(byte_tokenizer(), ["x" * 500])[0]
    assert len(cut) == 64
    np.testing.assert_array_equal(cut[:-1], whole[:63])


def test_batch_equals_the_tokenizers_own_ids():
    tokenizer = byte_tokenizer()
    expected = tokenizer(TEXTS[:3], add_special_tokens=False)["input_ids"]
    for ids, own in zip(contract().tokenize(tokenizer, TEXTS[:3]), expected, strict=True):
        assert ids.tolist() == [*own[:63], EOS_ID]


def test_the_tokenizers_own_settings_change_nothing():
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.enable_padding(length=40)
    tokenizer.backend_tokenizer.enable_truncation(4)
    got = contract().tokenize(tokenizer, TEXTS)
    for one, other in zip(got, contract().tokenize(byte_tokenizer(), TEXTS), strict=True):
        np.testing.assert_array_equal(one, other)


def test_equal_normal_forms_give_equal_ids():
    one, other = contract().tokenize(byte_tokenizer(), ["रामः  गच्छति ||", "रामः गच्छति॥"])
    np.testing.assert_array_equal(one, other)


def test_prompt_stands_before_the_text_untouched():
    with_prompt, spelled = contract().tokenize(byte_tokenizer(), ["text"], prompt="query: "), None
    spelled = contract().tokenize(byte_tokenizer(), ["query: text"])
    np.testing.assert_array_equal(with_prompt[0], spelled[0])


def test_bos_is_added_where_the_tokenizer_adds_it(tmp_path):
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", BOS_ID)]
    )
    made = TextContract.of(ModelRecipe(max_length=8), tokenizer)
    assert made.add_bos
    for text in ("", "abc", "x" * 50):
        ids = made.tokenize(tokenizer, [text])[0]
        assert ids[0] == BOS_ID
        assert ids[-1] == EOS_ID
        assert len(ids) <= 8
    assert not contract().add_bos


def test_tokenizer_that_appends_eos_itself_gets_one_eos():
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", EOS_ID)]
    )
    made = TextContract.of(ModelRecipe(max_length=64), tokenizer)
    np.testing.assert_array_equal(
        made.tokenize(tokenizer, ["abc"])[0], contract().tokenize(byte_tokenizer(), ["abc"])[0]
    )


def test_ids_are_the_same_after_the_tokenizer_was_saved(tmp_path):
    from transformers import AutoTokenizer

    byte_tokenizer().save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for one, other in zip(
        contract().tokenize(byte_tokenizer(), TEXTS),
        contract().tokenize(again, TEXTS),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_tokenizer_without_eos_is_refused():
    with pytest.raises(CftError, match=r"no EOS token.*set \"eos_token\""):
        TextContract.of(ModelRecipe(), byte_tokenizer(eos=False))


def test_prompt_that_leaves_no_room_is_refused():
    with pytest.raises(CftError, match=r"model\.query_prompt: .*shorten it"):
        TextContract.of(ModelRecipe(max_length=8, query_prompt="a long prompt"), byte_tokenizer())


def test_saved_contract_is_the_same(tmp_path):
    contract().save(tmp_path)
    assert TextContract.load(tmp_path) == contract()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "not valid JSON"),
        ("[]", "restore the file"),
        ('{"max_length": 150}', "Field required"),
    ],
)
def test_damaged_contract_is_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "text_contract.json").write_text(content)
    with pytest.raises(CftError, match=message) as caught:
        TextContract.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_differing_contracts_name_the_fields():
    with pytest.raises(CftError, match="pooling is 'mean' and not 'last'"):
        contract().require_same(contract(pooling="mean"), "adapter")
    contract().require_same(contract(), "adapter")


class ParsesSpecials:
    """A tokenizer in Python that cannot be told to leave special tokens alone."""

    eos_token_id, bos_token_id = EOS_ID, BOS_ID

    def __call__(self, texts, add_special_tokens, split_special_tokens):
        spelled = {"$": EOS_ID, "^": BOS_ID}
        return {"input_ids": [[spelled.get(one, ord(one) % 97 + 3) for one in t] for t in texts]}


@settings(max_examples=80, deadline=None)
@given(
    texts=st.lists(st.text(st.sampled_from("ab$^ धर्म"), max_size=12), max_size=6),
    max_length=st.integers(4, 12),
    add_bos=st.booleans(),
    prompt=st.sampled_from(["", "q$: "]),
)
@pytest.mark.parametrize("tokenizer", [ParsesSpecials(), byte_tokenizer()])
def test_end_to_end_is_one_by_one(tokenizer, texts, max_length, add_bos, prompt):
    terms = contract(max_length=max_length, add_bos=add_bos, bos_id=BOS_ID)
    expected = []
    for text in texts:
        own = tokenizer(
            [prompt + normalise(text)], add_special_tokens=False, split_special_tokens=True
        )
        plain = [one for one in own["input_ids"][0] if one not in (EOS_ID, BOS_ID)]
        head = [BOS_ID] if add_bos else []
        expected.append([*head, *plain[: max_length - 1 - len(head)], EOS_ID])
    flat_T, length_N = terms.tokenize_flat(tokenizer, [normalise(one) for one in texts], prompt)
    assert (flat_T.dtype, length_N.dtype) == (np.int32, np.int64)
    assert flat_T.tolist() == [one for row in expected for one in row]
    assert length_N.tolist() == list(map(len, expected))
    assert [row.tolist() for row in terms.tokenize(tokenizer, texts, prompt)] == expected


def test_the_digest_of_a_tokenizer_is_its_own(tmp_path):
    digest = tokenizer_digest(byte_tokenizer())
    disturbed = byte_tokenizer()
    disturbed.backend_tokenizer.enable_padding(length=40)
    assert tokenizer_digest(disturbed) == digest
    byte_tokenizer().save_pretrained(tmp_path)
    loaded = [AutoTokenizer.from_pretrained(tmp_path) for _ in range(2)]
    assert len({tokenizer_digest(one) for one in loaded}) == 1
    loaded[0].add_tokens(["verse"])
    assert tokenizer_digest(loaded[0]) != tokenizer_digest(loaded[1])
