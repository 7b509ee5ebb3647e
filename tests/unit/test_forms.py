"""Every deployment's form: complete, typed, and as it was agreed to."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from cft.errors import CftError
from cft.recipe import Recipe, load_recipe
from deployments.cli import recipe_folder
from deployments.deploy.plan import FILE, expanded, planned
from flows.evaluate import evaluate
from flows.forms import BaselinesSettings, EvaluateSettings, TrainSettings
from flows.train import train
from tests.schemas import FOLDER, form, golden

PLAN = planned()
FLOWS = {one.flow.name: one.flow for one in PLAN}


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Every field of every tree in a form, and whether it must be given."""
    for title, node in schema["definitions"].items():
        for name, one in node.get("properties", {}).items():
            # A description that a sub-tree has already is not repeated beside its reference.
            tree = schema["definitions"].get(one.get("$ref", "").rpartition("/")[2], {})
            said = {"description": tree["description"]} if "description" in tree else {}
            yield f"{title}.{name}", said | one, name in node.get("required", [])


@pytest.mark.parametrize("name", FLOWS)
def test_the_form_is_the_agreed_one(name: str) -> None:
    schema = form(FLOWS[name])
    assert schema == golden(name), "read the difference, then `python -m tests.schemas`"


def test_no_agreed_form_is_left_over() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == set(FLOWS)


@pytest.mark.parametrize("name", FLOWS)
def test_every_field_has_a_description_a_default_and_a_type(name: str) -> None:
    schema = form(FLOWS[name])
    assert schema["properties"].keys() <= {"settings", "recipe", "machine"}, "trees, no leaves"
    assert all(
        node["additionalProperties"] is False
        for node in schema["definitions"].values()
        if node["type"] == "object"
    )
    for field, one, required in fields(schema):
        assert one.get("description"), f"{field}: no description"
        assert required or "default" in one, f"{field}: the form would be empty"
        assert any(key in one for key in ("type", "anyOf", "enum", "$ref", "allOf")), field


def test_numbers_have_bounds() -> None:
    free = [
        field
        for flow in FLOWS.values()
        for field, one, _ in fields(form(flow))
        for arm in one.get("anyOf", [one])
        if arm.get("type") in ("integer", "number")
        and not {"minimum", "exclusiveMinimum"} & arm.keys()
    ]
    assert not free


@pytest.mark.parametrize("preset", ["pilot", "sarvam", "sarvam-original", "minicpm"])
def test_presets_are_the_shipped_recipes_with_every_value_written_out(preset: str) -> None:
    recipe = load_recipe(recipe_folder() / f"{preset}.yaml")
    trees = [one.parameters for one in PLAN if one.name == preset]
    assert len(trees) >= 3
    for tree in trees:
        values = tree["recipe"] if "recipe" in tree else tree["settings"]["recipe"]
        assert values == recipe.model_dump(mode="json")


def test_what_every_deployment_has() -> None:
    assert len({one.full_name for one in PLAN}) == len(PLAN)
    for one in PLAN:
        assert one.tags[0] == "cft", "the automation knows our runs by it"
        assert len(one.tags) == 2
        assert one.description.endswith(".")
        assert one.job_variables["stream_output"] is False
        assert one.pool in ("cpu", "gpu")
    slugs = [entry["slug"] for one in PLAN for entry in one.schedules]
    assert len(set(slugs)) == len(slugs)
    assert "active" not in FILE.read_text("utf-8").split("name: cft")[1]


def test_a_training_on_a_gpu_waits_for_its_pool() -> None:
    for one in PLAN:
        trains = one.flow.name in ("two-stage", "train", "retrain")
        recipe = one.parameters.get("recipe") or one.parameters.get("settings", {}).get("recipe")
        on_cpu = recipe is not None and recipe["launch"]["device"] == "cpu"
        assert (one.pool == "gpu") == (trains and not on_cpu), one.full_name


def test_what_only_a_person_can_give_is_left_open() -> None:
    assert expanded(evaluate, {}) == {}
    full = expanded(evaluate, {"settings": {"model": "m"}})["settings"]
    assert full == EvaluateSettings(model="m").model_dump(mode="json")


def test_parameters_that_do_not_fit_name_their_field() -> None:
    with pytest.raises(CftError, match=r"train: .*stage1.max_steps"):
        expanded(train, {"settings": {"recipe": {"stage1": {"max_steps": 0}}}})
    with pytest.raises(CftError, match="flow train: no parameter recipe"):
        expanded(train, {"recipe": {}})
    with pytest.raises(CftError, match="--only two-stage/none: unknown; take of two-stage/pilot"):
        planned(only=("two-stage/none",))


@pytest.mark.parametrize("tree", [TrainSettings, BaselinesSettings])
def test_trees_refuse_unknown_keys_and_bad_values(tree) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        tree(typo=1)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", ""])
def test_devices_are_checked(device: str) -> None:
    with pytest.raises(ValidationError, match="device"):
        EvaluateSettings(model="m", device=device)


def test_the_file_is_one_that_prefect_reads() -> None:
    from prefect.cli.deploy._models import PrefectYamlModel

    read = PrefectYamlModel.model_validate(yaml.safe_load(FILE.read_text("utf-8")))
    assert len(read.deployments) == len(PLAN)
    assert all(Recipe.model_validate(one.parameters.get("recipe", {})) for one in read.deployments)
