"""Evaluation: figures and vectors of one model, cached by what was evaluated on what."""

from pathlib import Path

from prefect import task

from cft.evaluation.result import EvaluationResult, load_result
from cft.evaluation.suite import evaluate
from cft.files import digest_code, digest_file, digest_folder, digest_json
from cft.home import Home
from cft.model.encoder import Encoder
from cft.recipe import Recipe
from cft.triplets.prepare import EVALUATION_SET
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


def results_of(folders: dict[str, Path]) -> dict[str, EvaluationResult]:
    """The saved evaluations, by the name of their column."""
    return {name: load_result(folder) for name, folder in folders.items()}
