"""Flags that the evaluation verbs share: which encoder, on what device, and how it is scored."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cft.cli.options import Leaf, apply_flags, leaves, options_for
from cft.errors import CftError
from cft.recipe import EvalRecipe, Recipe

if TYPE_CHECKING:
    from cft.evaluation.encoders import NamedEncoder
    from cft.evaluation.result import SuiteResult

Command = Callable[..., Any]
LEAVES = tuple(leaves(EvalRecipe, ("evaluation",), "eval-"))
INTERVAL_LEAVES = tuple(one for one in LEAVES if one.path[-1] != "batch_tokens")

_ENCODER_OPTIONS = (
    click.option(
        "--model-path", metavar="MODEL",
        help="Folder of a backbone, an adapter, an exported or a sentence-transformers model; a "
        "run directory; models:/NAME@ALIAS; or the name of a sentence-transformers model.",
    ),
    click.option(
        "--adapter-path", type=click.Path(path_type=Path), metavar="DIR",
        help="Adapter on the backbone of --model-path. Alone: on the backbone it was trained on.",
    ),
    click.option(
        "--device", default="auto", show_default=True, metavar="DEVICE",
        help="auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:1, mps.",
    ),
    click.option("--name", metavar="TEXT", help="Name in tables.  [default: the model's own]"),
    click.option(
        "--query-prompt", metavar="TEXT", help="Put before queries.  [default: the model's own]"
    ),
    click.option(
        "--document-prompt", metavar="TEXT",
        help="Put before documents.  [default: the model's own]",
    ),
    click.option(
        "--cache", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
        help="Keep vectors here, and take them from here.",
    ),
    click.option("--trust-remote-code", is_flag=True, help="Python files of the model may run."),
)  # fmt: skip
_ENCODER_NAMES = (
    "model_path", "adapter_path", "device", "name", "query_prompt", "document_prompt", "cache",
    "trust_remote_code",
)  # fmt: skip
_CONTAMINATION_OPTIONS = (
    click.option(
        "--trained-on", multiple=True, type=click.Path(path_type=Path), metavar="PATH",
        help="Training data of the model (store, prepared data or file of triplets): texts of the "
        "suite in it mark the result as contaminated. The data of a run are found by themselves.",
    ),
    click.option(
        "--contaminated", is_flag=True, help="The model is known to be trained on these texts."
    ),
)  # fmt: skip


def encoder_options(command: Command) -> Command:
    """Decorator: the flags that say which encoder; :func:`opened` takes them back."""
    return _all(_ENCODER_OPTIONS, command)


def contamination_options(command: Command) -> Command:
    """Decorator: the flags that :func:`is_contaminated` takes back."""
    return _all(_CONTAMINATION_OPTIONS, command)


def _all(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


scoring_options = options_for(LEAVES)
interval_options = options_for(INTERVAL_LEAVES)


def scoring(flags: Mapping[str, Any], chosen: tuple[Leaf, ...] = LEAVES) -> EvalRecipe:
    """The settings of the scoring that the flags make."""
    return apply_flags(Recipe(), flags, chosen).evaluation


def opened(flags: dict[str, Any]) -> "NamedEncoder":
    """The encoder that the flags name; its flags are taken out of ``flags``.

    Raises:
        CftError: no model is named, or it cannot be loaded.
    """
    from cft.evaluation.encoders import open_encoder

    model, adapter, device, name, query, document, cache, trust = (
        flags.pop(one) for one in _ENCODER_NAMES
    )
    if model is None and adapter is None:
        raise CftError("--model-path: missing; name a model, or an adapter by --adapter-path")
    if model is None:
        model, adapter = adapter, None
    encoder = open_encoder(
        model,
        adapter=adapter,
        device=device,
        cache=cache,
        query_prompt=query,
        document_prompt=document,
        trust_remote_code=trust,
    )
    if name:
        encoder.name = name
    return encoder


def is_contaminated(
    flags: dict[str, Any], suite: str, texts: Sequence[str], model: Sequence[str | Path | None]
) -> bool:
    """Whether the model was trained on texts of the suite, as far as its data can be found.

    Args:
        flags: its flags are taken out.
        suite: name of the suite.
        texts: its texts.
        model: what was named as the model, and as its adapter.
    """
    from cft.evaluation.contamination import find_contamination, training_data_of

    known, data = bool(flags.pop("contaminated")), list(flags.pop("trained_on"))
    for one in model:
        for store in training_data_of(Path(one)) if one else ():
            if store.exists():
                data.append(store)
            else:
                click.echo(f"{store}: gone; whether it held these texts is not known", err=True)
    ours = any(one and str(one).startswith("models:/") for one in model) or bool(model[-1])
    if ours and not data and not known:
        click.echo(
            "training data of the model are not known, so nobody looked for texts of the suite in "
            "them; name them by --trained-on",
            err=True,
        )
    return bool(find_contamination(suite, texts, data)) or known


def output_option(suite: str) -> Callable[[Command], Command]:
    """Decorator: where the result goes."""
    return click.option(
        "--output-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
        help=f"Where to write the result.  [default: eval/{suite}-<YYYYMMDDHHMMSS>]",
    )  # fmt: skip


def result_folder(suite: str, output: Path | None) -> Path:
    """The folder of the result, asked for before the work: the given one, or one with the time.

    Raises:
        CftError: it holds something already.
    """
    from cft.evaluation.result import require_free

    folder = output or Path("eval") / f"{suite}-{datetime.now():%Y%m%d%H%M%S}"
    require_free(folder)
    return folder


def finished(result: "SuiteResult", folder: Path) -> None:
    """Save a result, show its figures, and print where it lies."""
    from rich.console import Console

    from cft.evaluation.table import rich_table

    result.save(folder)
    note = ", CONTAMINATED: trained on these texts" if result.contaminated else ""
    console = Console()
    width = console.width if console.is_terminal else None
    title = f"{result.suite}: {result.evaluation.evalset}{note}"
    table = rich_table({result.model: result.evaluation}, title=title, width=width)
    Console(width=None if console.is_terminal else 120).print(table)
    click.echo(folder)
