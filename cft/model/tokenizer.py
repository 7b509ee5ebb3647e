"""The tokenizer and the configuration of a local backbone.

transformers brings torch, five seconds of imports, so it is imported when something is read:
`cft deploy`, and flows that only look at records, never wait for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cft.errors import CftError
from cft.model.identity import model_folder
from cft.model.native import native_config


def load_tokenizer(path: Path | str, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a local backbone.

    Args:
        path: folder of a transformers model.
        trust_remote_code: whether Python files in the folder may run.

    Raises:
        CftError: the folder holds no tokenizer, the tokenizer has no EOS, or it needs code that
            may not run.
    """
    from transformers import AutoTokenizer

    folder = model_folder(path)
    with _reading(folder, "tokenizer", "put the backbone's tokenizer files beside its weights"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder,
            config=model_config(folder, trust_remote_code),
            local_files_only=True,
            trust_remote_code=trust_remote_code,
        )
    if tokenizer.eos_token_id is None:
        raise CftError(
            f"{folder}: the tokenizer has no EOS token, and the embedding is read at EOS; "
            'set "eos_token" in tokenizer_config.json'
        )
    return tokenizer


def model_config(folder: Path, trust_remote_code: bool) -> Any:
    """The configuration of a model, in the words of transformers' own classes where they have it.

    Raises:
        CftError: it cannot be read, or is made by code that may not run.
    """
    from transformers import AutoConfig

    if (config := native_config(folder)) is not None:
        return config
    with _reading(folder, "model", "give a folder with config.json and weights"):
        return AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )


@contextmanager
def _reading(folder: Path, what: str, advice: str) -> Iterator[None]:
    """Say in one line why transformers cannot read something, and what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise CftError(
                f"{folder}: this backbone is Python code of its own; read the *.py files there, "
                "then give --trust-remote-code to run them"
            ) from None
        raise CftError(
            f"{folder}: no {what} can be read there ({one_line(error)}); {advice}"
        ) from None


def one_line(error: Exception) -> str:
    """The message of an error, cut to what a line can hold."""
    return " ".join(str(error).split())[:200] or type(error).__name__
