"""The data of a recipe, ready for training: corpora, triplets, leak guard, both stages' stores."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from cft.corpora.sources import from_hub
from cft.home import Home
from cft.recipe import Recipe
from cft.triplets.prepare import STAGES
from flows.console import end_on_signals, use_terminal
from flows.hooks import hooks
from flows.summary import step_lines
from tasks.backbone import backbone_folder, given_backbone, make_backbone
from tasks.data import (
    build_corpus,
    corpus_folder,
    fetch_sources,
    publish_manifest,
    require_sources,
    store_folder,
    text_contract,
    tokenise,
)
from tasks.steps import Steps


@dataclass(frozen=True)
class Prepared:
    """What training starts from.

    Attributes:
        corpus: prepared data: triplets, evaluation set, manifest.
        backbone: the given folder, or the nano backbone.
        stores: tokenised triplets by stage.
    """

    corpus: Path
    backbone: Path
    stores: dict[str, Path]


def prepared(recipe: Recipe, home: Home, steps: Steps) -> Prepared:
    """The steps that training and preparing have in common; each is reused where nothing changed.

    Raises:
        CftError: a source or the backbone cannot be used, or a text of an evaluation set stands in
            the training data.
    """
    model = recipe.model
    backbone = given_backbone(model.backbone, model.trust_remote_code) if model.backbone else None
    fetched = from_hub(recipe.data)
    data = steps.do("fetch sources", fetch_sources, recipe.data) if fetched else recipe.data
    corpus = steps.reuse("corpus", build_corpus, corpus_folder(home, data), data)
    if backbone is None:
        target = backbone_folder(home, corpus, model.nano)
        backbone = steps.reuse("backbone", make_backbone, target, str(corpus), model.nano)
    contract = text_contract(model, backbone)
    stores = {}
    for stage in STAGES:
        target = store_folder(home, corpus, stage, contract)
        arguments = (str(corpus), stage, str(backbone), model)
        stores[stage] = steps.reuse(f"tokenise {stage}", tokenise, target, *arguments)
    return Prepared(corpus, backbone, stores)


@flow(name="prepare", flow_run_name="{recipe.name}", **hooks())
def prepare_data(recipe: Recipe = Recipe()) -> dict[str, Any]:  # noqa: B008 (shown in the form)
    """Make the data of both stages and show its manifest.

    Args:
        recipe: every setting; of the backbone its tokenizer suffices.

    Returns:
        References to all that was made: folders, the page, the steps.
    """
    started = time.perf_counter()
    home, steps = Home.from_environment(), Steps()
    made = prepared(recipe, home, steps)
    page = publish_manifest(recipe.name, str(made.corpus), made.stores)
    return {
        "flow_run_id": str(flow_run.id),
        "corpus": str(made.corpus),
        "backbone": str(made.backbone),
        "stores": {stage: str(folder) for stage, folder in made.stores.items()},
        "page": page,
        "steps": steps.to_json(),
        "reused": steps.reused,
        "seconds": round(time.perf_counter() - started, 1),
    }


def run_and_show(recipe: Recipe) -> dict[str, Any]:
    """Run the flow in this process; print its page, its steps and where the data lies.

    SIGTERM and the loss of the terminal end it as Ctrl-C does: nothing half-made is left.
    """
    use_terminal()
    end_on_signals()
    require_sources(recipe.data)
    if recipe.model.backbone:
        given_backbone(recipe.model.backbone, recipe.model.trust_remote_code)
    result = prepare_data(recipe)
    lines = [result["page"], *step_lines(result), "", f"Data         {result['corpus']}"]
    lines += [f"{stage:<12} {folder}" for stage, folder in result["stores"].items()]
    print("\n".join(lines))
    return result
