"""``cft model``: backbones onto this machine, trained models out to other programs."""

from pathlib import Path

import click


@click.group("model")
def model_group() -> None:
    """Fetch backbones and export trained models."""


@model_group.command("fetch")
@click.argument("name", metavar="sarvam-1|minicpm-2b|OWNER/NAME")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder to write.  [default: pretrained/NAME]",
)  # fmt: skip
@click.option("--revision", metavar="REV", help="Branch, tag or commit.  [default: main]")
@click.option("--tokenizer-only", is_flag=True, help="Leave the weights out: enough for data.")
@click.option(
    "--trust-remote-code", is_flag=True, help="Fetch the repository's own Python files as well."
)
def fetch_command(
    name: str, output: Path | None, revision: str | None, tokenizer_only: bool,
    trust_remote_code: bool,
) -> None:  # fmt: skip
    """Download a backbone from the hub, pinned to a commit and checked file by file.

    A download that broke off goes on where it stopped. Weights are kept as safetensors, also where
    the repository pickles them. Every text will end in EOS, where the embedding is read. A gated
    repository needs HF_TOKEN.

    \b
    Examples
      cft model fetch sarvam-1
      cft model fetch sarvam-1 --tokenizer-only
      cft model fetch Qwen/Qwen3-0.6B --revision main --output pretrained/qwen
    """
    from cft.model.fetch import fetch_model

    folder = fetch_model(
        name,
        output,
        revision=revision,
        tokenizer_only=tokenizer_only,
        trust_remote_code=trust_remote_code,
    )
    click.echo(folder)


@model_group.command("export")
@click.argument("reference", metavar="RUN|ADAPTER|BACKBONE|models:/NAME@ALIAS")
@click.argument("output", type=click.Path(path_type=Path, file_okay=False), metavar="OUTPUT")
@click.option(
    "--backbone", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Backbone of the adapter.  [default: where it was trained]",
)  # fmt: skip
@click.option(
    "--adapter", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Adapter to merge into a backbone.",
)  # fmt: skip
@click.option(
    "--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True,
    help="Weights on disk; bfloat16 halves them and rounds.",
)  # fmt: skip
@click.option(
    "--adapter-only", is_flag=True,
    help="A few megabytes: the adapter, and its backbone by reference.",
)  # fmt: skip
@click.option("--trust-remote-code", is_flag=True, help="Run the backbone's own Python files.")
def export_command(
    reference: str, output: Path, backbone: Path | None, adapter: Path | None, dtype: str,
    adapter_only: bool, trust_remote_code: bool,
) -> None:  # fmt: skip
    """Write a folder that SentenceTransformer(OUTPUT) loads, with the adapter merged in.

    The folder holds the weights, the pooling, the prompts and a tokenizer that normalises texts
    and ends them in EOS. It is loaded and its vectors are compared with the encoder's before it is
    published: float32 agrees to 1e-5.

    \b
    Examples
      cft model export outputs/stage2 exported
      cft model export outputs/stage2/adapter exported --backbone pretrained/sarvam-1
      cft model export models:/cft-embedder@champion exported --dtype bfloat16
    """
    from cft.errors import CftError
    from cft.evaluation.encoders import open_encoder
    from cft.model.encoder import Encoder
    from cft.model.export import export_encoder

    if output.exists():
        raise CftError(f"{output}: exists already; give a folder that does not")
    encoder = open_encoder(
        reference,
        backbone=backbone,
        adapter=adapter,
        device="cpu",
        trust_remote_code=trust_remote_code,
    )
    if not isinstance(encoder, Encoder):
        raise CftError(f"{reference}: a sentence-transformers model already; copy the folder")
    proof = export_encoder(
        encoder,
        output,
        "bfloat16" if dtype == "bfloat16" else "float32",
        "adapter" if adapter_only else "merged",
    )
    click.echo(f"{output}  largest difference {proof.largest_difference:.1e}")
