"""``cft data inspect``: what a dataset is made of, what it looks like and how hard it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cft.cli.data.flags import encoder_options
from cft.errors import CftError

if TYPE_CHECKING:
    from cft.mining.dataset import Dataset


@click.command("inspect")
@click.argument("path", type=click.Path(path_type=Path), metavar="FOLDER|FILE")
@click.option(
    "--samples", type=click.IntRange(0, 1000), default=2, show_default=True, metavar="N",
    help="Triplets of each kind to show.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Which ones.",
)  # fmt: skip
@encoder_options(
    "Measure with this encoder how near anchors are to positives, hard negatives and random "
    "texts, and count tokens.",
    "Its adapter.",
)
@click.option(
    "--similarity-rows", type=click.IntRange(2, 100_000), default=256, show_default=True,
    metavar="N", help="Rows of each stage to encode.",
)  # fmt: skip
@click.option(
    "--tokenizer-path", type=click.Path(path_type=Path), metavar="DIR",
    help="Count tokens with this tokenizer.  [default: the backbone's, or words]",
)  # fmt: skip
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
    help="Draw the lengths as well.",
)  # fmt: skip
def command(
    path: Path, samples: int, seed: int, backbone: Path | None, adapter: Path | None,
    device: str, trust_remote_code: bool, similarity_rows: int, tokenizer_path: Path | None,
    plot: Path | None,
) -> None:  # fmt: skip
    """Show manifest, samples, lengths and similarities of prepared data, a store or a file.

    Similarities need an encoder. Measured once with --backbone, they stay in the folder's
    similarity.json and are shown from then on.

    \b
    Examples
      cft data inspect data/ --samples 3
      cft data inspect data/ --backbone pretrained/sarvam-1 --adapter run/adapter
      cft data inspect mined.jsonl --tokenizer-path pretrained/sarvam-1 --plot lengths.png
    """
    from rich.console import Console

    from cft.cli.data import panels
    from cft.mining.dataset import open_dataset
    from cft.mining.lengths import lengths_of
    from cft.triplets.manifest import contamination_note

    if adapter is not None and backbone is None:
        raise CftError("--adapter: needs --backbone, the folder of the model that it was made for")
    if plot is not None and plot.suffix.lower() != ".png":
        raise CftError(f"--plot: {plot}: not a PNG; name a file that ends in .png")
    dataset = open_dataset(path)
    encoder, tokenizer, contract = _encoder(
        backbone, adapter, device, trust_remote_code, tokenizer_path
    )
    figures = _similarities(dataset, encoder, backbone, adapter, rows=similarity_rows, seed=seed)
    lengths = lengths_of(dataset, tokenizer, contract, seed)

    out = Console()
    if note := contamination_note(dataset.manifest):
        out.print(panels.warning(note))
    for one in panels.manifest_tables(dataset):
        out.print(one)
    out.print(panels.length_bars(lengths))
    for entry in figures:
        out.print(panels.similarity_table(entry))
    for part in dataset.parts:
        for kind in sorted(set(part.kind)) if samples else []:
            out.print(panels.samples(part.name, kind, part.sample_of(kind, samples, seed)))
    if plot is not None:
        from cft.evaluation.length_plot import length_plot

        length_plot(lengths.edges, lengths.histograms, lengths.unit, plot)
        click.echo(plot)


def _encoder(
    backbone: Path | None, adapter: Path | None, device: str, trust_remote_code: bool,
    tokenizer_path: Path | None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Encoder, tokenizer and contract, as far as the flags give them."""
    from cft.model.text_contract import TextContract
    from cft.recipe import ModelRecipe

    encoder = None
    if backbone is not None:
        from cft.model.encoder import Encoder

        encoder = Encoder.load(backbone, adapter, device, None, trust_remote_code)
    if tokenizer_path is not None:
        from cft.model.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(tokenizer_path, trust_remote_code)
        return encoder, tokenizer, TextContract.of(ModelRecipe(), tokenizer)
    if encoder is not None:
        return encoder, encoder.tokenizer, encoder.contract
    return None, None, None


def _similarities(
    dataset: "Dataset", encoder: Any, backbone: Path | None, adapter: Path | None, *, rows: int,
    seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """What is known of the dataset; measured now, and kept beside it, where there is an encoder."""
    from cft.mining.hardness import save_similarities, saved_similarities, similarities_of
    from cft.model.identity import identity_of

    if encoder is None or backbone is None:
        return saved_similarities(dataset.path) if dataset.is_folder else []
    entry = similarities_of(dataset, encoder, identity_of(backbone, adapter), rows, seed)
    if dataset.is_folder:
        save_similarities(dataset.path, entry)
    return [entry]
