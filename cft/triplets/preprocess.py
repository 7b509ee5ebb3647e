"""From a file of triplets to a tokenised store that training reads."""

from pathlib import Path

from cft.errors import CftError
from cft.files import digest_file
from cft.model.identity import backbone_digest
from cft.model.text_contract import CONTRACT_FILE, TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import ModelRecipe
from cft.triplets.files import triplet_batches
from cft.triplets.manifest import MANIFEST_FILE, load_manifest
from cft.triplets.store import build_store, require_fit


def preprocess(
    source: Path, folder: Path, recipe: ModelRecipe, num_rows: int | None = None
) -> Path:
    """Tokenise the triplets of a file into ``folder``, whole or not at all, in bounded memory.

    Where ``folder`` holds that very store already, it stands.

    Args:
        source: CSV, TSV, JSON lines or Parquet; see :func:`cft.triplets.files.triplet_batches`.
        folder: what to write.
        recipe: tokenizer, longest text and prompts. Of the backbone its tokenizer suffices.
        num_rows: the first rows only; None for all.

    Raises:
        CftError: the file or the tokenizer cannot be used, or ``folder`` holds something else.
    """
    if recipe.backbone is None:
        raise CftError("model.backbone: missing; give the folder of a tokenizer")
    if not source.is_file():
        raise CftError(f"{source}: no such file; name one that exists")
    backbone = Path(recipe.backbone).expanduser().absolute()
    tokenizer = load_tokenizer(backbone, recipe.trust_remote_code)
    contract = TextContract.of(recipe, tokenizer, backbone_digest(backbone))
    manifest = {
        "sources": {source.name: digest_file(source)},
        "settings": {"num_rows": num_rows},
    }
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if folder.exists():
        if not (folder / MANIFEST_FILE).is_file() or not (folder / CONTRACT_FILE).is_file():
            raise CftError(f"{folder}: there already, and no store; name another folder")
        stands = load_manifest(folder)
        if any(stands.get(name) != value for name, value in manifest.items()):
            raise CftError(
                f"{folder}: a store of other data or of another number of rows; remove it, or "
                "name another folder"
            )
        require_fit(folder, contract, lambda: tokenizer)
        return folder
    return build_store(folder, triplet_batches(source, num_rows), contract, tokenizer, manifest)
