"""Baselines: real models side by side, each with its prompts, and absences that say why."""

import json

import pytest
from click.testing import CliRunner

from cft.cli import app
from cft.corpora.trika import load_trika
from cft.errors import CftError
from cft.evaluation.benchmarks.baseline_table import (
    baseline_metrics,
    baseline_rich_table,
    baseline_table,
)
from cft.evaluation.benchmarks.baselines import (
    Baseline,
    chosen_baselines,
    load_baselines,
    run_baselines,
)
from cft.evaluation.encoders import open_encoder
from cft.evaluation.suites import trika
from cft.model.backbone import load_backbone
from cft.model.identity import backbone_digest
from cft.model.lora import attach_lora, save_adapter
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import EvalRecipe, LoraRecipe, ModelRecipe
from cft.triplets.base import Triplets
from cft.triplets.store import build_store
from tests.sentence_transformers_models import save_sentence_transformer
from tests.tiny import save_backbone

RECIPE = EvalRecipe(bootstrap_samples=100)
TINY = ModelRecipe(lora=LoraRecipe(r=4, alpha=8))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_sentence_transformer(folder / "theirs")
    save_sentence_transformer(folder / "broken")
    weights = folder / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    save_backbone(folder / "base")
    return folder


@pytest.fixture(scope="module")
def compared(models, tmp_path_factory):
    output = tmp_path_factory.mktemp("out")
    theirs = str(models / "theirs")
    listed = {
        "plain": Baseline(title="Plain", model=theirs, query_prompt="", document_prompt=""),
        "asked": Baseline(
            title="Asked", model=theirs, query_prompt="query: ", document_prompt="passage: "
        ),
        "broken": Baseline(title="Broken", model=str(models / "broken")),
    }
    chosen = chosen_baselines(["all"], listed, model_path=models / "base")
    rows = run_baselines(chosen, load_trika(), RECIPE, output=output, device="cpu", progress=False)
    return output, chosen, rows


def test_the_list_of_the_package_has_the_models_and_their_prompts():
    known = load_baselines()
    assert {key: one.model for key, one in known.items()} == {
        "labse": "sentence-transformers/LaBSE",
        "multilingual-e5-large": "intfloat/multilingual-e5-large",
        "bge-m3": "BAAI/bge-m3",
        "vyakyarth": "krutrim-ai-labs/Vyakyarth",
    }
    prompts = {key: (one.query_prompt, one.document_prompt) for key, one in known.items()}
    assert prompts.pop("multilingual-e5-large") == ("query: ", "passage: ")
    assert set(prompts.values()) == {("", "")}


def test_models_are_rows_and_a_model_that_is_not_there_says_why(compared):
    _, _, rows = compared
    assert [row.key for row in rows] == ["plain", "asked", "broken", "base", "ours"]
    assert [row.evaluation is not None for row in rows] == [True, True, False, True, False]
    assert "cannot load it" in rows[2].reason
    assert rows[4].reason == "no adapter was named; give --adapter-path"
    table = baseline_table(rows)
    figures = rows[0].evaluation.figures
    assert f"| Plain | {figures['mean/mrr'].value:.3f} |" in table
    assert "| Broken | – |" in table
    assert rows[2].reason in table
    assert "| `query: ` | `passage: ` |" in table
    assert "Broken: not run" in str(baseline_rich_table(rows).caption)
    metrics = baseline_metrics(rows)
    assert metrics["baselines/plain/mean/mrr"] == figures["mean/mrr"].value
    assert not any("broken" in name or "ours" in name for name in metrics)


def test_the_prompts_of_the_list_reach_the_model(models, compared):
    """Each figure is that of the suite on the model opened by hand with the same prompts."""
    _, _, rows = compared
    for row, prompts in ((rows[0], ("", "")), (rows[1], ("query: ", "passage: "))):
        encoder = open_encoder(
            models / "theirs", device="cpu", query_prompt=prompts[0], document_prompt=prompts[1]
        )
        by_hand = trika.run(
            encoder, load_trika(), RECIPE, model=row.title,
            query_prompt=prompts[0], document_prompt=prompts[1],
        )  # fmt: skip
        assert row.evaluation.figures == by_hand.figures
    assert rows[0].evaluation.figures != rows[1].evaluation.figures


def test_the_same_call_again_encodes_nothing(compared, monkeypatch):
    output, chosen, rows = compared

    def encode(*texts, **options):
        raise AssertionError("encoded again")

    monkeypatch.setattr(trika, "evaluate", encode)
    again = run_baselines(chosen, load_trika(), RECIPE, output=output, device="cpu", progress=False)
    assert again == rows


def test_ours_is_marked_when_its_training_held_a_verse(models, tmp_path):
    tokenizer = load_tokenizer(models / "base")
    terms = TextContract.of(TINY, tokenizer, backbone_digest(models / "base"))
    adapted = attach_lora(load_backbone(models / "base"), TINY.lora, seed=1)
    save_adapter(adapted, tmp_path / "run" / "adapter", terms)
    rows = Triplets(["a", load_trika().texts["SK_1"]], ["b", "c"], [("d",), ("e",)], ["A", "A"])
    build_store(tmp_path / "store", rows, terms, tokenizer, {})
    spec = {"store": str(tmp_path / "store"), "init_adapter": None}
    (tmp_path / "run" / "spec.json").write_text(json.dumps(spec))
    chosen = chosen_baselines(
        ["base", "ours"], {}, model_path=models / "base", adapter_path=tmp_path / "run" / "adapter"
    )
    base, ours = run_baselines(
        chosen, load_trika(), RECIPE, output=tmp_path / "out", device="cpu", progress=False
    )
    assert (base.note, ours.note) == ("", "CONTAMINATED: trained on these texts")
    assert ours.note in baseline_table([base, ours])
    assert f"ours: {ours.note}" in str(baseline_rich_table([base, ours]).caption)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: {title: A, model: m, prompt: x}", r"list.yaml, a: prompt: Extra inputs"),
        ("a: {title: A}", r"list.yaml, a: model: Field required"),
        ("[1, 2]", r"not a mapping of keys"),
        ("a: {", r"not valid YAML"),
    ],
)
def test_a_wrong_list_names_the_entry(tmp_path, text, told):
    (tmp_path / "list.yaml").write_text(text)
    with pytest.raises(CftError, match=told):
        load_baselines(tmp_path / "list.yaml")
    with pytest.raises(CftError, match="no such list of models"):
        load_baselines(tmp_path / "none.yaml")


def test_models_are_chosen_by_key_folder_or_name(tmp_path):
    known = load_baselines()
    (tmp_path / "mine").mkdir()
    found = chosen_baselines(
        ["bge-m3", str(tmp_path / "mine"), "owner/name", "ours"], known,
        adapter_path=tmp_path / "adapter",
    )  # fmt: skip
    assert list(found) == ["bge-m3", "mine", "name", "ours"]
    assert found["ours"].model == str(tmp_path / "adapter")
    with pytest.raises(CftError, match=r"--models: labs is none of labse, "):
        chosen_baselines(["labs"], known)


def test_the_verb_fails_where_no_model_runs(tmp_path):
    arguments = ["eval", "baselines", "--models", "ours", "--no-track"]
    done = CliRunner().invoke(app, [*arguments, "--output-dir", str(tmp_path)])
    assert isinstance(done.exception, CftError)
    assert "no model could be run" in str(done.exception)
