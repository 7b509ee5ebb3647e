"""``cft data preprocess``: from a user's file to a store that training takes as it is."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from cft.cli import app
from cft.cli.trainable import new_run
from cft.errors import CftError
from cft.files import digest_folder
from cft.model.tokenizer import load_tokenizer
from cft.recipe import ModelRecipe, Recipe
from cft.text import text_id
from cft.training.launch import Machines
from cft.triplets.files import read_triplets
from cft.triplets.store import TokenStore
from tests.reference_store import reference_store
from tests.tiny import save_backbone
from tests.unit.test_store_streamed import assert_equal_stores


@pytest.fixture
def given(tmp_path: Path, monkeypatch) -> Path:
    """A backbone, its tokenizer alone, and triplets."""
    save_backbone(tmp_path / "backbone")
    shutil.copytree(
        tmp_path / "backbone", tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors")
    )
    rows = [f"anchor {n},positive {n},negative {n % 7}" for n in range(50)]
    (tmp_path / "t.csv").write_text("\n".join(["sent0,sent1,hard_neg", *rows]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def preprocess(*arguments: object):
    words = ["data", "preprocess", "--input_csv", "t.csv", *map(str, arguments)]
    return CliRunner().invoke(app, words)


def test_it_is_the_store_of_the_rows(given: Path):
    result = preprocess("--tokenizer_path", "backbone", "--max_length", 40)
    assert result.exit_code == 0, result.output
    assert result.stdout == "processed\n"
    store = TokenStore.open(given / "processed")
    assert (store.rows, store.texts, store.contract.max_length) == (50, 107, 40)
    assert store.manifest["store"]["kinds"] == {"file": 50}
    assert store.manifest["sources"].keys() == {"t.csv"}
    assert sum(store.manifest["store"]["token_lengths"]["document"]["histogram"]["counts"]) == 107
    reference = reference_store(
        given / "reference",
        read_triplets(given / "t.csv"),
        store.contract,
        load_tokenizer(given / "backbone"),
    )
    assert_equal_stores(given / "processed", reference)


def test_the_defaults_are_those_of_the_recipe(given: Path):
    result = preprocess()
    assert isinstance(result.exception, CftError)
    assert "pretrained/sarvam-1: no such folder; give one, or fetch it" in str(result.exception)
    shutil.copytree("backbone", "pretrained/sarvam-1")
    assert preprocess("--num_rows", 10).stdout == "processed_pilot\n"
    store = TokenStore.open(Path("processed_pilot"))
    assert (store.rows, store.contract.max_length) == (10, 150)
    assert store.manifest["settings"] == {"num_rows": 10}


def test_prompts_of_roles(given: Path):
    result = preprocess("--tokenizer-path", "backbone", "--query-prompt", "find: ")
    assert result.exit_code == 0, result.output
    store = TokenStore.open(Path("processed"))
    asked = store.tokens(text_id("anchor 3"), "query")
    assert load_tokenizer("backbone").decode(asked[:-1]) == "find: anchor 3"


def test_once_made_it_stands_and_nothing_else_takes_its_place(given: Path):
    flags = ("--tokenizer-path", "backbone", "--output-dir", "out")
    assert preprocess(*flags).exit_code == 0
    before = digest_folder(given / "out"), (given / "out").stat().st_ino
    assert preprocess(*flags).exit_code == 0
    assert (digest_folder(given / "out"), (given / "out").stat().st_ino) == before
    for more, says in (
        (("--num-rows", 5), "out: a store of other data or of another number of rows"),
        (("--max-length", 20), "max_length is 150 and not 20"),
    ):
        assert says in str(preprocess(*flags, *more).exception)
    (given / "mine").mkdir()
    assert preprocess(*flags[:3], "mine").exit_code == 0  # an empty folder is no obstacle
    (given / "photos").mkdir()
    (given / "photos" / "x").touch()
    refused = preprocess(*flags[:3], "photos")
    assert "photos: there already, and no store" in str(refused.exception)
    assert [path.name for path in (given / "photos").iterdir()] == ["x"]


def test_a_bad_row_leaves_nothing(given: Path):
    (given / "t.csv").write_text("sent0,sent1,hard_neg\na,b,c\nd,,f\n")
    result = preprocess("--tokenizer-path", "backbone", "--output-dir", "out")
    assert "t.csv, row 2, sent1: no text" in str(result.exception)
    assert sorted(path.name for path in given.iterdir()) == ["backbone", "bare", "t.csv"]


def recipe(backbone: Path, **changes) -> Recipe:
    return Recipe(model=ModelRecipe(backbone=str(backbone), **changes))


def run_of(given: Path, name: str, chosen: Recipe):
    return new_run(
        chosen, "stage1", data=given / "processed", adapter=None, output=given / name,
        machines=Machines(),
    )  # fmt: skip


def test_a_bare_tokenizer_suffices_for_the_backbone_that_has_it(given: Path):
    assert preprocess("--tokenizer-path", "bare").exit_code == 0
    _, spec = run_of(given, "run", recipe(given / "backbone", pooling="mean"))
    assert spec.store == str(given / "processed")
    with pytest.raises(CftError, match="max_length is 150 and not 64"):
        run_of(given, "other", recipe(given / "backbone", max_length=64))


def test_another_tokenizer_is_refused(given: Path):
    assert preprocess("--tokenizer-path", "bare").exit_code == 0
    path = given / "backbone" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(CftError, match="backbone_digest is"):
        run_of(given, "run", recipe(given / "backbone"))
