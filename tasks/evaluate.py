"""Evaluation: figures and vectors of one model, cached by what was evaluated on what."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task

from cft.evaluation.comparison import compare
from cft.evaluation.result import SuiteResult, load_result
from cft.evaluation.significance import Difference
from cft.evaluation.suites.held_out import evaluate
from cft.files import digest_code, digest_file, digest_folder, digest_json, whole_folder
from cft.home import Home
from cft.mining.dataset import open_dataset, read_json
from cft.mining.hardness import SAMPLE_ROWS, SIMILARITY_FILE, save_similarities, similarities_of
from cft.model.identity import identity_of
from cft.recipe import EvalRecipe, Recipe
from cft.triplets.prepare import EVALUATION_SET, STAGES
from tasks.data import evaluation_set, text_contract
from tasks.steps import key_of_target


def evaluation_folder(
    home: Home, recipe: Recipe, corpus: Path, backbone: Path, adapter: Path | None, model: str
) -> Path:
    """Where the evaluation of a model lies; weights, contract, texts, settings and code decide."""
    return home.evaluations / digest_json(
        {
            "model": model,
            "evaluation_set": digest_file(corpus / EVALUATION_SET),
            "contract": text_contract(recipe.model, backbone).model_dump(),
            "adapter": digest_folder(adapter) if adapter else None,
            "recipe": recipe.evaluation.model_dump(),
            "code": digest_code("cft.evaluation", "cft.model", "cft.text"),
        }
    )


@task(name="evaluate-model", cache_key_fn=key_of_target, persist_result=True)
def evaluate_model(
    target: str, recipe: Recipe, corpus: str, backbone: str, adapter: str | None, model: str
) -> str:
    """Encode the held-out texts once and compute every figure with its interval."""
    if not Path(target).exists():
        from cft.model.encoder import Encoder

        contract = text_contract(recipe.model, Path(backbone))
        encoder = Encoder.load(
            Path(backbone),
            Path(adapter) if adapter else None,
            recipe.launch.device,
            contract,
            recipe.model.trust_remote_code,
        )
        evaluate(
            encoder,
            evaluation_set(Path(corpus)),
            recipe.evaluation,
            model=model,
            query_prompt=contract.query_prompt,
            document_prompt=contract.document_prompt,
        ).save(Path(target))
    return target


def results_of(folders: dict[str, Path]) -> dict[str, SuiteResult]:
    """The saved evaluations, by the name of their column."""
    return {name: load_result(folder) for name, folder in folders.items()}


def differences_of(
    results: Mapping[str, SuiteResult], recipe: EvalRecipe
) -> dict[str, dict[str, Difference]]:
    """Every later result against the first, metric by metric; empty for a single one."""
    (_, first), *others = results.items()
    return {title: compare(first, one, recipe) for title, one in others}


def similarity_folder(home: Home, recipe: Recipe, corpus: Path, backbone: Path) -> Path:
    """Where the similarities of prepared triplets lie, by a backbone without adapter."""
    return home.evaluations / digest_json(
        {
            "triplets": [digest_file(corpus / f"{stage}.arrow") for stage in STAGES],
            "contract": text_contract(recipe.model, backbone).model_dump(),
            "seed": recipe.data.seed,
            "code": digest_code("cft.mining", "cft.model", "cft.text"),
        }
    )


@task(name="measure-similarity", cache_key_fn=key_of_target, persist_result=True)
def measure_similarity(target: str, recipe: Recipe, corpus: str, backbone: str) -> str:
    """How near anchors lie to positives, hard negatives and random texts, on a sample."""
    if not Path(target).exists():
        from cft.model.encoder import Encoder

        encoder = Encoder.load(
            Path(backbone),
            None,
            recipe.launch.device,
            text_contract(recipe.model, Path(backbone)),
            recipe.model.trust_remote_code,
        )
        dataset, identity = open_dataset(Path(corpus)), identity_of(Path(backbone), None)
        entry = similarities_of(dataset, encoder, identity, SAMPLE_ROWS, recipe.data.seed)
        with whole_folder(Path(target)) as beside:
            save_similarities(beside, entry)
    return target


def similarities(folder: Path) -> dict[str, dict[str, Any]]:
    """The figures that :func:`measure_similarity` left, by stage."""
    return read_json(folder / SIMILARITY_FILE)[0]["parts"]
