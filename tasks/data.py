"""Corpus and stores: made once per content, found again by it."""

from functools import lru_cache
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from cft.corpora.evalset import EvalSet
from cft.corpora.nli import load_nli
from cft.corpora.sources import local_sources
from cft.errors import CftError
from cft.files import digest_code, digest_file, digest_folder, digest_json
from cft.home import Home
from cft.model.identity import backbone_digest
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import DataRecipe, ModelRecipe, Recipe
from cft.training.launch import world_size_for
from cft.triplets.leaks import guarded_sets
from cft.triplets.manifest import SOURCE_FIELDS
from cft.triplets.manifest_page import manifest_page
from cft.triplets.prepare import (
    EVALUATION_SET,
    load_corpora,
    load_manifest,
    prepare,
)
from cft.triplets.store import TokenStore, build_store
from cft.triplets.stream import stage_batches
from tasks.retries import ON_NETWORK
from tasks.steps import key_of_target

DATA_KEY = "prepared-data"


def corpus_folder(home: Home, recipe: DataRecipe) -> Path:
    """Where the prepared data of a recipe lies: settings, source files and code by digest."""
    recipe = local_sources(recipe, home)
    return home.data / digest_json(
        {
            "recipe": recipe.model_dump(exclude=set(SOURCE_FIELDS)),
            "itihasa": _source_digest(recipe.itihasa),
            "vbt": _source_digest(recipe.vbt),
            "nli": _source_digest(recipe.nli),
            "eval_sets": [_source_digest(one) for one in recipe.eval_sets],
            "code": digest_code("cft.corpora", "cft.triplets", "cft.text"),
        }
    )


def _source_digest(source: str | None) -> str | None:
    """Content of a source; one that is missing is for its reader to complain about."""
    if source is None:
        return None
    path = Path(source)
    if path.is_dir():
        return digest_folder(path)
    return digest_file(path) if path.is_file() else f"missing {source}"


def require_sources(recipe: DataRecipe) -> None:
    """Say that a source is missing, or fetch it, before any server is started for nothing.

    Raises:
        CftError: in the words of its reader.
    """
    recipe = local_sources(recipe)
    guarded_sets(recipe.eval_sets)
    given = [source for source in (recipe.itihasa, recipe.vbt) if source is not None]
    if not all(Path(source).exists() for source in given):
        load_corpora(recipe)
    if recipe.nli is not None and not Path(recipe.nli).exists():
        load_nli(Path(recipe.nli))


@task(name="fetch-sources", cache_policy=NO_CACHE, **ON_NETWORK)
def fetch_sources(recipe: DataRecipe) -> DataRecipe:
    """Fetch what the recipe takes from the hub; a download that broke off goes on."""
    return local_sources(recipe)


@task(name="build-corpus", cache_key_fn=key_of_target, persist_result=True)
def build_corpus(target: str, recipe: DataRecipe) -> str:
    """Read or generate the corpora, split them, build the triplets and the evaluation set."""
    if not Path(target).exists():
        prepare(recipe, Path(target))
    return target


def text_contract(recipe: ModelRecipe, backbone: Path) -> TextContract:
    """The contract of a recipe with a backbone.

    Raises:
        CftError: the folder is no causal LM, or its tokenizer has no EOS.
    """
    return _contract(recipe.model_dump_json(), backbone, backbone_digest(backbone))


@lru_cache(maxsize=16)  # every step of a flow asks, and a large tokenizer takes a second to read
def _contract(recipe: str, backbone: Path, digest: str) -> TextContract:
    model = ModelRecipe.model_validate_json(recipe)
    tokenizer = load_tokenizer(backbone, model.trust_remote_code)
    return TextContract.of(model, tokenizer, digest)


def store_folder(home: Home, corpus: Path, stage: str, contract: TextContract) -> Path:
    """Where the tokenised triplets of a stage lie."""
    return home.stores / digest_json(
        {
            "triplets": digest_file(corpus / f"{stage}.arrow"),
            "contract": contract.model_dump(),
            "code": digest_code("cft.triplets", "cft.model.text_contract", "cft.text"),
        }
    )


@task(name="build-store", cache_key_fn=key_of_target, persist_result=True)
def tokenise(target: str, corpus: str, stage: str, backbone: str, recipe: ModelRecipe) -> str:
    """Tokenise the triplets of one stage, each distinct text once."""
    if not Path(target).exists():
        build_store(
            Path(target),
            stage_batches(Path(corpus), stage),
            text_contract(recipe, Path(backbone)),
            load_tokenizer(Path(backbone), recipe.trust_remote_code),
            load_manifest(Path(corpus)),
        )
    return target


@task(name="publish-manifest", cache_policy=NO_CACHE)
def publish_manifest(recipe: str, corpus: str, stores: dict[str, Path]) -> str:
    """The manifest of data and stores as an artifact of the flow run; returns the page."""
    tokens = {stage: load_manifest(folder) for stage, folder in stores.items()}
    page = manifest_page(f"Data of recipe {recipe}", load_manifest(Path(corpus)), tokens)
    create_markdown_artifact(page, key=DATA_KEY, description=f"Recipe {recipe}: data")
    return page


def evaluation_set(corpus: Path) -> EvalSet:
    """The held-out texts of a prepared corpus."""
    return EvalSet.load(corpus / EVALUATION_SET)


def require_full_batches(recipe: Recipe, stores: dict[str, Path], ranks: int | None = None) -> None:
    """Refuse, before anything is launched, a stage with fewer triplets than one global batch.

    Args:
        recipe: what will train.
        stores: the triplets of each stage.
        ranks: of the machine that trains; None: of this one.

    Raises:
        CftError: naming the stage, both counts and what to change.
    """
    ranks = ranks or world_size_for(recipe.launch)
    for stage, folder in stores.items():
        size = (recipe.stage1 if stage == "stage1" else recipe.stage2).batch_size_for(ranks)
        rows = TokenStore.open(folder).rows
        if rows < size * ranks:
            raise CftError(
                f"{stage}: {rows} triplets are fewer than one global batch of {size * ranks} "
                f"({ranks} processes x {size}); lower --{stage}-batch-size or --num-processes, "
                "or give more data"
            )
