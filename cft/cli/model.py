"""``cft model``: backbones on this machine."""

from pathlib import Path

import click


@click.group("model")
def model_group() -> None:
    """Fetch backbones."""


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
