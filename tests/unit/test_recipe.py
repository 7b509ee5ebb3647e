"""The settings tree: bounds, unknown keys, YAML, and the flags that grow from it."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cft.cli import app
from cft.cli.options import apply_flags, leaves
from cft.cli.recipes import as_yaml, find_recipe, shipped_recipes
from cft.errors import CftError
from cft.recipe import Recipe, Settings, flattened, load_recipe, training_digest, validated


def test_defaults_are_those_of_the_original_training():
    recipe = Recipe()
    lora = recipe.model.lora
    assert (lora.r, lora.alpha, lora.dropout, lora.init) == (8, 32, 0.1, "gaussian")
    assert lora.target_modules == ["q_proj", "v_proj"]
    first, second = recipe.stage1, recipe.stage2
    assert (first.learning_rate, first.max_steps, first.warmup_steps) == (5e-5, 1000, 100)
    assert (second.learning_rate, second.max_steps, second.warmup_steps) == (2e-5, 500, 50)
    for stage in (first, second):
        assert (stage.temperature, stage.weight_decay, stage.seed) == (0.05, 1e-4, 7)
        assert stage.lr_scheduler_type == "cosine"
    assert recipe.model.max_length == 150


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"stage1": {"learning_rat": 1e-3}}, "stage1.learning_rat"),
        ({"stage1": {"temperature": 0}}, "stage1.temperature"),
        ({"model": {"lora": {"dropout": 1.5}}}, "model.lora.dropout"),
        ({"data": {"strategies": ["A", "Z"]}}, "data.strategies.1"),
        ({"stage2": {"warmup_steps": 10, "max_steps": 5}}, "warmup_steps (10) exceeds"),
        ({"model": {"nano": {"num_heads": 6}}}, "model.nano: Value error, hidden_size (256) must"),
        ({"model": {"nano": {"hidden_size": 48, "num_heads": 16}}}, "1, 2, 4 or 8 heads suit"),
        ({"model": {"nano": {"hidden_size": 320, "num_heads": 5}}}, "num_heads (5) must be even"),
        ({"model": {"nano": {"hidden_size": 240, "num_heads": 5}}}, "num_heads (5) must be even"),
    ],
)
def test_bad_values_name_their_field(values, named):
    with pytest.raises(CftError) as caught:
        validated(values, "mine.yaml")
    message = str(caught.value)
    assert message.startswith("mine.yaml: ")
    assert named in message
    assert "\n" not in message


def test_every_field_has_a_description_and_a_default():
    def check(node: type[Settings]) -> None:
        for name, field in node.model_fields.items():
            assert field.description, f"{node.__name__}.{name} has no description"
            # Defaults from a factory are missing in the form of the Prefect UI.
            assert not field.is_required()
            assert field.default_factory is None
            if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
                check(field.annotation)

    check(Recipe)


def test_yaml_round_trip_is_exact(tmp_path: Path):
    recipe = find_recipe("pilot")
    path = tmp_path / "mine.yaml"
    path.write_text(as_yaml(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


@pytest.mark.parametrize("name", ["pilot", "sarvam", "sarvam-original", "minicpm"])
def test_shipped_recipes_load_by_their_names(name):
    assert find_recipe(name).name == name == shipped_recipes()[name].stem


@pytest.mark.parametrize("name", ["pilot", "sarvam-original", "minicpm"])
def test_these_recipes_keep_the_standard_adapter(name):
    assert find_recipe(name).model.lora == Recipe().model.lora


def test_measurements_leave_the_backbone_and_the_second_stage_to_the_original():
    measured, original = find_recipe("sarvam"), find_recipe("sarvam-original")
    assert measured.stage2 == original.stage2
    assert measured.model.backbone == original.model.backbone
    assert measured.data == original.data.model_copy(update={"triplet_types": "cross_lingual"})
    assert original.stage1 == Recipe().stage1.model_copy(update={"bf16": True})


def test_the_english_recipe_differs_in_backbone_and_stage_1_data_alone():
    english, sanskrit = find_recipe("minicpm"), find_recipe("sarvam-original")
    assert english.data.nli == "hub"
    assert sanskrit.data.nli is None
    changed = {
        "name": "minicpm",
        "data": sanskrit.data.model_copy(update={"nli": "hub"}),
        "model": sanskrit.model.model_copy(update={"backbone": "pretrained/minicpm-2b"}),
    }
    assert english == sanskrit.model_copy(update=changed)


@pytest.mark.parametrize(
    ("content", "says"),
    [("- a\n- b\n", "mapping"), ("a: [1\n", "not valid YAML"), ("nme: x\n", "nme")],
)
def test_bad_recipe_files_are_named(tmp_path: Path, content, says):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(CftError, match=says) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


def test_a_folder_is_no_recipe(tmp_path: Path):
    with pytest.raises(CftError, match=rf"{tmp_path}: cannot be read .Is a directory.; name a"):
        load_recipe(tmp_path)


def test_missing_recipe_names_those_that_exist():
    with pytest.raises(CftError, match=r"pilot.*sarvam"):
        find_recipe("nonesuch")


def test_flags_are_unique_and_cover_every_leaf():
    flags = [leaf.flag for leaf in leaves()]
    assert len(set(flags)) == len(flags)
    assert {".".join(leaf.path) for leaf in leaves()} == set(flattened(Recipe()))


def test_flattened_holds_plain_leaves():
    flat = flattened(Recipe())
    assert flat["model.lora.r"] == 8
    assert flat["stage2.learning_rate"] == 2e-5
    assert not any(isinstance(value, Settings) for value in flat.values())


def test_training_options_are_off_by_default_and_have_flags():
    base = Recipe().stage1
    assert (base.global_batch_size, base.micro_batch_tokens, base.matryoshka_dims) == (
        None,
        None,
        [],
    )
    assert (base.false_negative_margin, base.learn_temperature) == (None, False)
    assert not base.query_query_negatives
    assert not base.document_document_negatives
    given = {
        "stage1__global_batch_size": "8192", "stage1__micro_batch_tokens": "16384",
        "stage1__matryoshka_dims": "64 128", "stage1__false_negative_margin": "-0.1",
        "stage1__learn_temperature": True,
    }  # fmt: skip
    changed = apply_flags(Recipe(), given).stage1
    assert (changed.global_batch_size, changed.micro_batch_tokens) == (8192, 16384)
    assert changed.matryoshka_dims == [64, 128]
    assert (changed.false_negative_margin, changed.learn_temperature) == (-0.1, True)
    for name, bad in (("global_batch_size", "0"), ("matryoshka_dims", "0"), ("temperature", "2")):
        with pytest.raises(CftError, match=rf"command line: stage1.*{name}"):
            apply_flags(Recipe(), {f"stage1__{name}": bad, "stage1__learn_temperature": True})


def test_flags_change_the_recipe():
    base = Recipe()
    changed = apply_flags(
        base, {"data__num_rows": "2000", "data__strategies": "A,C", "model__lora__r": "16"}
    )
    assert (changed.data.num_rows, changed.data.strategies) == (2000, ["A", "C"])
    assert changed.model.lora.r == 16
    assert base.model.lora.r == 8
    with pytest.raises(CftError, match=r"command line: data\.num_rows.*'many'"):
        apply_flags(base, {"data__num_rows": "many"})


@pytest.mark.parametrize(
    "spelling",
    [
        ["--num-rows", "12", "--strategies", "A", "C"],
        ["--num_rows", "12", "--strategies", "A,C"],
        ["--num_rows=12", "--strategies=A,C"],
    ],
)
def test_both_spellings_and_list_styles_reach_the_recipe(monkeypatch, spelling):

    seen = []
    monkeypatch.setattr("deployments.cli.run.flow", lambda name, *trees: seen.append(trees))
    result = CliRunner().invoke(app, ["pilot", *spelling, "--triplet_types", "cross_lingual"])
    assert result.exit_code == 0, result.output
    ((recipe, machine),) = seen
    assert machine.kind == "local"
    assert recipe.data.num_rows == 12
    assert recipe.data.strategies == ["A", "C"]
    assert recipe.data.triplet_types == "cross_lingual"


def test_help_teaches():
    result = CliRunner().invoke(app, ["--help"])
    assert "cft pilot" in result.output
    assert "CFT_HOME" in result.output
    pilot = CliRunner().invoke(app, ["pilot", "--help"])
    for flag in ("--itihasa", "--vbt", "--num-rows", "--backbone", "--stage1-learning-rate"):
        assert flag in pilot.output


@pytest.mark.parametrize(
    ("words", "flag", "says"),
    [
        (["pilot"], "--stage1-max-steps N", "[default: 400]"),
        (["pilot"], "--stage2-learning-rate X", "[default: 0.0005]"),
        (["train"], "--learning-rate X", "[default: 5e-05; of stage2 2e-05]"),
        (["train"], "--max-length N", "[default: 150]"),
    ],
)
def test_help_states_the_defaults_that_are_taken(words, flag, says):
    shown = " ".join(CliRunner().invoke(app, [*words, "--help"]).output.split())
    about = shown[shown.index(f" {flag} ") + 1 :]
    assert says in about[: about.index(" --")]


def test_help_of_a_verb_that_takes_a_recipe_states_no_defaults_of_another():
    shown = CliRunner().invoke(app, ["two-stage", "--help"]).output
    assert "--stage1-max-steps" in shown
    assert "[default: 1000]" not in shown


def test_recipe_verb_prints_yaml_and_schema():
    printed = CliRunner().invoke(app, ["recipe", "sarvam-original"])
    assert yaml.safe_load(printed.output)["stage1"]["learning_rate"] == 5e-5
    schema = CliRunner().invoke(app, ["recipe", "--schema"])
    assert '"LoraRecipe"' in schema.output


@pytest.mark.parametrize(
    ("values", "other"),
    [
        ({"stage1": {"seed": 8}}, True),
        ({"stage2": {"temperature": 0.1}}, True),
        ({"model": {"pooling": "mean"}}, True),
        ({"model": {"lora": {"r": 16}}}, True),
        ({"launch": {"num_processes": 2}}, True),
        ({"launch": {"device": "cpu"}}, False),
        ({"stage1": {"compile": True}}, False),
        ({"stage1": {"bf16": True, "float8": True}}, True),
        ({"name": "another"}, False),
        ({"tracking": {"wait_seconds": 5, "experiment": "other"}}, False),
        ({"evaluation": {"bootstrap_samples": 500}}, False),
        # The data's and the backbone's own digests answer for these.
        ({"data": {"itihasa": "/elsewhere"}}, False),
        ({"model": {"backbone": "/elsewhere"}}, False),
    ],
)
def test_the_training_digest_is_that_of_the_adapter_alone(values, other):
    changed = validated(values, "the test")
    assert (training_digest(changed) != training_digest(Recipe())) is other
