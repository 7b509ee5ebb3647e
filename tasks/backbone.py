"""The backbone: a given folder, or a nano model trained on the training texts."""

from pathlib import Path

from prefect import task

from cft.errors import CftError
from cft.files import digest_code, digest_json
from cft.home import Home
from cft.model.tokenizer import load_tokenizer
from cft.recipe import NanoRecipe
from cft.triplets.prepare import training_texts
from tasks.steps import key_of_target


def given_backbone(folder: str, trust_remote_code: bool = False) -> Path:
    """A user's backbone, made absolute.

    Raises:
        CftError: no such folder, no tokenizer in it, or one without EOS.
    """
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise CftError(f"{path}: no such folder; give the folder of a local causal LM")
    load_tokenizer(path, trust_remote_code)
    return path


def backbone_folder(home: Home, corpus: Path, recipe: NanoRecipe) -> Path:
    """Where the nano backbone of these texts lies."""
    return home.backbones / digest_json(
        {
            "recipe": recipe.model_dump(),
            "texts": digest_json(training_texts(corpus)),
            "code": digest_code("cft.model.nano"),
        }
    )


@task(name="make-backbone", cache_key_fn=key_of_target, persist_result=True)
def make_backbone(target: str, corpus: str, recipe: NanoRecipe) -> str:
    """Train tokenizer and nano backbone on the training split's own texts."""
    if not Path(target).exists():
        from cft.model import nano

        nano.make_backbone(training_texts(Path(corpus)), recipe, Path(target))
    return target
