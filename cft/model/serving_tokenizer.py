"""A tokenizer that keeps the text contract by itself, for programs that do not know of it."""

import re
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from cft.errors import CftError
from cft.model.text_contract import TextContract
from cft.text import normalise

# What Python's str.split takes for a space: more than a regular expression's \s.
_SPACES = (
    r"[\t-\r\x{1c}-\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}"
    r"\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]+"
)


def serving_tokenizer(tokenizer: Any, contract: TextContract) -> PreTrainedTokenizerFast:
    """A copy of ``tokenizer`` whose plain call gives the ids of ``contract``.

    It normalises, ends every text in EOS (a long one loses its end first), begins it with BOS where
    the contract does, and takes the spelling of a special token for ordinary text. It sees prompt
    and text as one string: a text that has no prompt and begins with the words of one is taken for
    a text that has it, which at most changes a space.

    Raises:
        CftError: the tokenizer is written in Python and has no file that other programs read.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise CftError(
            f"{type(tokenizer).__name__}: a tokenizer in Python cannot be exported; use a backbone "
            "with a tokenizer.json"
        )
    core = Tokenizer.from_str(backend.to_str())
    core.no_truncation()
    core.no_padding()
    own = [] if core.normalizer is None else [core.normalizer]
    core.normalizer = normalizers.Sequence([*_normal_form(), *_prompts(contract), *own])
    ends = {contract.eos_id: core.id_to_token(contract.eos_id)}
    single = f"$A:0 {ends[contract.eos_id]}:0"
    if contract.add_bos and contract.bos_id is not None:
        ends[contract.bos_id] = core.id_to_token(contract.bos_id)
        single = f"{ends[contract.bos_id]}:0 {single}"
    core.post_processor = TemplateProcessing(
        single=single, special_tokens=[(piece, one) for one, piece in ends.items()]
    )
    named = {
        name: getattr(tokenizer, name)
        for name in ("bos_token", "unk_token")
        if getattr(tokenizer, name, None) is not None
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=tokenizer.eos_token,
        # Padding is masked whatever its id; a tokenizer without one pads by EOS.
        pad_token=tokenizer.pad_token or tokenizer.eos_token,
        padding_side="right",
        truncation_side="right",
        model_max_length=contract.max_length,
        split_special_tokens=True,
        **named,
    )


def _normal_form() -> list[Any]:
    """The steps of :func:`cft.text.normalise`."""
    return [
        normalizers.NFC(),
        normalizers.Replace(Regex(_SPACES), " "),
        normalizers.Strip(),
        normalizers.Replace("|", "।"),
        normalizers.Replace(Regex("। ?।"), "॥"),
        normalizers.Replace(" ।", "।"),
        normalizers.Replace(" ॥", "॥"),
    ]


def _prompts(contract: TextContract) -> list[Any]:
    """Steps that give back to a prompt what the normal form has taken: it is used as it is."""
    steps = []
    for prompt in sorted({contract.query_prompt, contract.document_prompt}):
        normal = normalise(prompt)
        if not normal:
            continue
        ends_in_space = prompt != prompt.rstrip()
        gap = r"(?: |\z|(?=[।॥]))" if ends_in_space else " ?"
        steps.append(normalizers.Replace(Regex(rf"\A{re.escape(normal)}{gap}"), prompt))
    return steps
