"""``cft eval trika``, ``sanskrit-sts`` and ``compare``: real tiny models from flags to files."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from cft.cli import app
from cft.corpora.trika import load_trika
from cft.errors import CftError
from cft.evaluation.result import load_result
from cft.model.backbone import load_backbone
from cft.model.identity import backbone_digest
from cft.model.lora import attach_lora, save_adapter
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import LoraRecipe, ModelRecipe
from cft.triplets.base import Triplets
from cft.triplets.store import build_store
from tests.tiny import save_backbone

RECIPE = ModelRecipe(lora=LoraRecipe(r=4, alpha=8))
FEW = ["--eval-bootstrap-samples", "100", "--device", "cpu"]


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A backbone, and a run whose training held one verse of the Trika."""
    folder = tmp_path_factory.mktemp("given")
    backbone = save_backbone(folder / "backbone")
    tokenizer = load_tokenizer(backbone)
    contract = TextContract.of(RECIPE, tokenizer, backbone_digest(backbone))
    model = attach_lora(load_backbone(backbone), RECIPE.lora, seed=1)
    torch.manual_seed(2)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # as after some training
            torch.nn.init.normal_(weight, std=0.5)
    save_adapter(model, folder / "run" / "adapter", contract)
    verse = load_trika().texts["SK_1"]
    rows = Triplets(["a", verse], ["b", "c"], [("d",), ("e",)], ["A", "A"])
    build_store(folder / "store", rows, contract, tokenizer, {})
    spec = {"store": str(folder / "store"), "backbone": str(backbone), "init_adapter": None}
    (folder / "run" / "spec.json").write_text(json.dumps(spec))
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A small module of verses, so that a tiny model on a busy machine is quick."""
    trika, path = load_trika(), tmp_path_factory.mktemp("corpus") / "verses.py"
    names: dict[str, object] = {}
    for name, upper in (("siva_sutra", "SIVA_SUTRA"), ("spanda_karika", "SPANDA_KARIKA")):
        chosen = dict(list(trika.verses[name].items())[:15])
        names[upper] = {one: verse.sanskrit for one, verse in chosen.items() if one != "SS_3_2"}
        names[f"{upper}_EN"] = {one: chosen[one].english for one in names[upper]}
    names["STS_PAIRS"] = [("SK_1", f"SK_{n}", n % 6, "why") for n in range(2, 12)]
    names["TRIPLETS"] = [("t", "SK_1", "SK_1_EN", "SK_2_EN", "cross_lingual")]
    path.write_text("\n".join(f"{name} = {value!r}" for name, value in names.items()))
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def evaluated(*words):
    result = CliRunner().invoke(app, ["eval", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_base_and_adapter_from_flags_to_a_verdict(given, corpus, tmp_path):
    told = evaluated(
        "trika", "--model_path", given / "backbone", "--eval_data", corpus, "--output_dir", "base",
        "--name", "before", *FEW,
    )  # fmt: skip
    assert "Cross-lingual MRR" in told.output
    assert "CONTAMINATED" not in told.output
    assert told.output.rstrip().endswith("base")
    base = load_result(Path("base"))
    assert (base.model, base.contaminated) == ("before", False)
    assert base.revision
    evaluated(
        "trika", "--model_path", given / "backbone", "--adapter_path", given / "run" / "adapter",
        "--eval_data", corpus, "--base", "base", "--output_dir", "tuned", *FEW,
    )  # fmt: skip
    tuned = load_result(Path("tuned"))
    assert tuned.figures["drift/cosine"].value > 0.01
    assert tuned.revision != base.revision
    told = evaluated("compare", "base", "tuned", "--output", "differences.json",
                     "--eval_bootstrap_samples", 100, "--eval_intervals", "bca")  # fmt: skip
    written = json.loads(Path("differences.json").read_text(encoding="utf-8"))
    assert written["first"] == {"model": "before", "revision": base.revision}
    assert set(written["metrics"]) == {
        name for name in base.figures if name in tuned.figures and not name.startswith("drift")
    }
    assert written["metrics"]["mean/mrr"]["verdict"] in told.output
    assert "CONTAMINATED" in told.output  # the adapter's run trained on SK_1


def test_the_run_of_an_adapter_tells_what_it_was_trained_on(given, corpus):
    for name, words in (
        ("adapter", ["--adapter_path", given / "run" / "adapter"]),
        ("run", ["--model_path", given / "run"]),
    ):
        told = evaluated("trika", *words, "--eval_data", corpus, "--output_dir", name, *FEW)
        assert "CONTAMINATED: trained on these texts" in " ".join(told.output.split())
        assert load_result(Path(name)).contaminated
    one, other = load_result(Path("adapter")), load_result(Path("run"))
    assert one.figures == other.figures


def test_training_data_may_be_named(given, corpus):
    words = ["trika", "--model_path", given / "backbone", "--eval_data", corpus, *FEW]
    evaluated(*words, "--trained_on", given / "store", "--output_dir", "one")
    assert load_result(Path("one")).contaminated
    evaluated(*words, "--contaminated", "--output_dir", "two")
    assert load_result(Path("two")).contaminated


def test_data_that_are_not_known_or_gone_are_told(given, corpus, tmp_path):
    shutil.copytree(given / "run", tmp_path / "moved")
    words = ["trika", "--model_path", given / "backbone", "--adapter_path", "moved/adapter"]
    words += ["--eval_data", corpus, *FEW]
    spec = json.loads(Path("moved/spec.json").read_text())
    Path("moved/spec.json").write_text(json.dumps({**spec, "store": "/nowhere/store"}))
    told = evaluated(*words, "--output_dir", "one")
    assert "/nowhere/store: gone; whether it held these texts is not known" in told.output
    Path("moved/spec.json").unlink()
    told = evaluated(*words, "--output_dir", "two")
    assert "nobody looked for texts of the suite in them; name them by --trained-on" in told.output
    assert not load_result(Path("two")).contaminated


def test_sanskrit_sts_from_flags_to_files(given):
    rows = [{"text_a": f"चित् {n}", "text_b": f"वाक् {n}", "label": n % 2} for n in range(8)]
    Path("vbt_eval.json").write_text(json.dumps(rows), encoding="utf-8")
    told = evaluated(
        "sanskrit-sts", "--eval_data", "vbt_eval.json", "--model_path", given / "backbone",
        "--adapter_path", given / "run" / "adapter", "--cache", "vectors", *FEW,
    )  # fmt: skip
    assert "AUC-ROC" in told.output
    (folder,) = Path("eval").iterdir()
    assert told.output.rstrip().endswith(str(folder))
    result = load_result(folder)
    assert result.evaluation.counts["similar"] == 4
    assert "separation/discrimination" in result.figures
    assert any(Path("vectors").rglob("*.arrow"))


def test_a_place_that_is_taken_is_told_before_the_work(given, corpus):
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    with pytest.raises(CftError, match="full: not an empty folder; name another"):
        # The model is not there either: the place is asked for first.
        evaluated("trika", "--model_path", "nowhere/at/all", "--output_dir", "full", *FEW)


def test_no_model_is_told():
    with pytest.raises(CftError, match=r"--model-path: missing; name a model"):
        evaluated("trika", "--output_dir", "out", *FEW)


def test_a_base_of_other_verses_is_told(given, corpus):
    words = ["trika", "--model_path", given / "backbone", *FEW]
    evaluated(*words, "--eval_data", corpus, "--output_dir", "few")
    rows = corpus.read_text(encoding="utf-8").replace("SS_1_2'", "SS_1_2x'")
    Path("other.py").write_text(rows.replace("चैतन्यमात्मा", "चैतन्यम्"), encoding="utf-8")
    with pytest.raises(CftError, match="evaluated on different texts; evaluate the base"):
        evaluated(*words, "--eval_data", "other.py", "--base", "few", "--output_dir", "out")
    assert not Path("out").exists()
