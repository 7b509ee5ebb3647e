"""The page of a manifest: every figure that stands in the manifest, and the word about leaks."""

from pathlib import Path

from cft.recipe import DataRecipe
from cft.triplets.manifest import load_manifest
from cft.triplets.manifest_page import manifest_page
from cft.triplets.prepare import STAGES, load_triplets, prepare
from cft.triplets.store import build_store
from tests.tiny import byte_tokenizer, contract


def test_it_says_what_the_manifest_says(tmp_path: Path):
    recipe = DataRecipe(num_rows=300, eval_pairs=20, seed=9, all_verses=True, allow_leak=True)
    manifest = load_manifest(prepare(recipe, tmp_path / "data"))
    stores = {
        stage: load_manifest(
            build_store(
                tmp_path / stage,
                load_triplets(tmp_path / "data", stage),
                contract(query_prompt="q: "),
                byte_tokenizer(),
                {},
            )
        )
        for stage in STAGES
    }
    page = manifest_page("Data of recipe x", manifest, stores)
    lines = page.splitlines()
    assert lines[0] == "# Data of recipe x"
    assert lines[2].startswith("**CONTAMINATED: ")
    assert str(manifest["contaminated_rows"]) in lines[2]
    for name, corpus in (("synthetic-epic", "epic"), ("synthetic-verses", "verses")):
        for key, value in manifest[corpus]["source"].items():
            assert f"| {name} | {key} | {value} |" in lines
        for why, rows in manifest[corpus]["dropped"].items():
            assert f"| {name} | {why.replace('_', ' ')} | {rows:,} |" in lines
    for stage, store in stores.items():
        for kind, rows in manifest[stage]["kinds"].items():
            assert f"| {stage} | {kind} | {rows:,} | 1 |" in lines
        for role in ("document", "query"):
            lengths = store["store"]["token_lengths"][role]
            row = next(line for line in lines if line.startswith(f"| {stage} | {role} |"))
            cells = [cell.replace(",", "") for cell in row.split(" | ")[2:]]
            assert cells[0] == str(lengths["texts"])
            assert cells[-1] == f"{lengths['at_max_length']} |"
    assert "Seed 9." in page
    clean = manifest_page("x", manifest | {"contaminated": False}, stores)
    assert "CONTAMINATED" not in clean
    assert clean.replace("# x", "# Data of recipe x").count("\n") == page.count("\n") - 2


def test_a_bar_in_a_name_breaks_no_table(tmp_path: Path):
    recipe = DataRecipe(num_rows=300, eval_pairs=20)
    manifest = load_manifest(prepare(recipe, tmp_path / "data"))
    manifest["verses"]["source"] = {"a|b.json": "0"}
    manifest["verses"]["dropped"] = manifest["epic"]["dropped"] = {}
    page = manifest_page("x", manifest, {})
    assert "| synthetic-verses | a\\|b.json | 0 |" in page
    assert "## Left out\n\nNothing." in page
