"""``cft train`` before anything is launched: flags, what an adapter or store brings, refusals."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cft.cli import app
from cft.cli.train import LEAVES
from cft.errors import CftError
from cft.model.backbone import load_backbone
from cft.model.identity import backbone_digest
from cft.model.lora import attach_lora, save_adapter
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import LaunchRecipe, LoraRecipe, ModelRecipe
from cft.training.launch import Machines, launch_environment, world_size_for
from cft.training.spec import TrainSpec
from tests.tiny import save_backbone
from tests.unit.test_launch import accelerate_arguments

RECIPE = ModelRecipe(max_length=48, pooling="mean", lora=LoraRecipe(r=4, alpha=8))


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A backbone, an adapter of it, and triplets."""
    folder = tmp_path_factory.mktemp("given")
    backbone = save_backbone(folder / "backbone")
    contract = TextContract.of(RECIPE, load_tokenizer(backbone), backbone_digest(backbone))
    model = attach_lora(load_backbone(backbone), RECIPE.lora, seed=1)
    save_adapter(model, folder / "adapter", contract)
    rows = [f"anchor {n},positive {n},negative {n}" for n in range(20)]
    (folder / "t.csv").write_text("\n".join(["sent0,sent1,hard_neg", *rows]))
    return folder


@pytest.fixture
def launched(monkeypatch, given, tmp_path):
    """Runs that would have been launched; nothing is."""
    runs: list[tuple[Path, TrainSpec, Machines]] = []

    def record(run, spec, machines):
        assert TrainSpec.load(run.spec) == spec
        runs.append((run.path, spec, machines))
        return 0

    monkeypatch.setattr("cft.training.foreground.train_in_foreground", record)
    monkeypatch.chdir(tmp_path)
    return runs


def train(given: Path, *arguments: object, data: str = "t.csv"):
    words = ["--model-name-or-path", given / "backbone", "--train-data-path", given / data]
    return CliRunner().invoke(app, ["train", *map(str, [*words, "--device", "cpu", *arguments])])


def test_every_flag_of_the_original_scripts_has_its_place(launched, given):
    result = train(
        given, "--lora_r", 16, "--lora_alpha", 64, "--lora_dropout", 0.2,
        "--lora_target_modules", "q_proj", "k_proj", "--temperature", 0.07,
        "--learning_rate", 1e-4, "--warmup_steps", 3, "--max_steps", 30, "--weight_decay", 0.01,
        "--lr_scheduler_type", "constant_with_warmup", "--bf16", "True",
        "--gradient_checkpointing", "true", "--save_steps", 15, "--logging_steps", 5, "--seed", 9,
        "--per_device_train_batch_size", 2, "--num_processes", 1, "--output_dir", "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    ((path, spec, machines),) = launched
    assert (path, machines) == (Path.cwd() / "out", Machines())
    lora, stage = spec.recipe.model.lora, spec.recipe.stage1
    assert (lora.r, lora.alpha, lora.dropout) == (16, 64, 0.2)
    assert lora.target_modules == ["q_proj", "k_proj"]
    assert (stage.temperature, stage.learning_rate, stage.weight_decay) == (0.07, 1e-4, 0.01)
    assert (stage.warmup_steps, stage.max_steps, stage.batch_size) == (3, 30, 2)
    assert (stage.save_steps, stage.logging_steps, stage.seed) == (15, 5, 9)
    assert stage.lr_scheduler_type == "constant_with_warmup"
    assert stage.bf16
    assert stage.gradient_checkpointing
    assert spec.world_size == 1
    assert spec.backbone == str(given / "backbone")
    assert Path(spec.store) == path / "store"
    assert spec.code["version"]


def test_dashes_switches_and_defaults(launched, given):
    result = train(given, "--no-bf16", "--mask-false-negatives", "False", "--stage", "stage2")
    assert result.exit_code == 0, result.output
    ((path, spec, _),) = launched
    assert path.parent == Path.cwd() / "train" / "output"
    assert (len(path.name), path.name.isdigit()) == (14, True)
    assert spec.stage == "stage2"
    assert (spec.train.learning_rate, spec.train.max_steps) == (2e-5, 500)
    assert not spec.train.mask_false_negatives
    assert spec.world_size == world_size_for(LaunchRecipe(device="cpu"))


def test_the_flags_of_the_command_are_unique():
    flags = [one.flag for one in LEAVES]
    assert len(set(flags)) == len(flags)
    assert {"--learning-rate", "--lora-r", "--pooling", "--device", "--trust-remote-code"} <= {
        *flags
    }


def test_an_adapter_brings_its_shape_and_contract(launched, given):
    result = train(given, "--adapter_path", given / "adapter", "--lora-dropout", 0.3)
    assert result.exit_code == 0, result.output
    ((_, spec, _),) = launched
    model = spec.recipe.model
    assert (model.lora.r, model.lora.alpha, model.lora.dropout) == (4, 8, 0.3)
    assert (model.max_length, model.pooling) == (48, "mean")
    assert spec.init_adapter == str(given / "adapter")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--lora_r", 8], r"model\.lora\.r: 8 is asked for, but the adapter .* has 4"),
        (["--lora_target_modules", "k_proj"], r"model\.lora\.target_modules: \['k_proj'\]"),
        (["--pooling", "last"], "the text contract differs"),
        (["--recipe", "sarvam-original"], r"model\.lora\.r: 8 is asked for"),
    ],
)
def test_what_contradicts_an_adapter_is_an_error(launched, given, flags, says):
    result = train(given, "--init-adapter", given / "adapter", "--output-dir", "out", *flags)
    assert isinstance(result.exception, CftError)
    with pytest.raises(CftError, match=says):
        raise result.exception
    assert not launched
    assert not Path("out").exists()


def test_a_store_is_used_as_it_is_and_must_fit(launched, given):
    train(given, "--output-dir", "first", "--max-length", 32)
    store = launched[0][1].store
    result = train(given, data=store)
    assert result.exit_code == 0, result.output
    assert launched[1][1].store == store
    assert launched[1][1].recipe.model.max_length == 32
    assert launched[1][1].data_digest == launched[0][1].data_digest
    refused = train(given, "--max-length", 64, data=store)
    assert "max_length is 32 and not 64" in str(refused.exception)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--train-data-path", "x"], "--model-name-or-path: missing"),
        (["--model-name-or-path", "m"], "--train-data-path: missing"),
        (["--model-name-or-path", "m", "--train-data-path", "x"], "m: no such folder"),
        (["--max-steps", "0", "--train-data-path", "x"], r"stage1\.max_steps: .*\(got '0'\)"),
        (["--machine-rank", "2", "--num-machines", "2"], "--machine-rank: 2 on 2 machines"),
        (["--num-machines", "2"], "--main-process-ip: missing"),
        (
            ["--num-machines", "2", "--main-process-ip", "h", "--train-data-path", "x"],
            "--output-dir: missing",
        ),
        (["--resume", "gone"], r"gone/spec\.json: no such file"),
        (["--gradient_accumulation_steps", "4"], "4: accumulated batches do not see each other's"),
        (["--resume", "gone", "--seed", "3"], "--seed: a resumed run has its settings already"),
    ],
)
def test_refusals_are_one_line(launched, tmp_path, arguments, says):
    result = CliRunner().invoke(app, ["train", *arguments])
    assert isinstance(result.exception, CftError)
    with pytest.raises(CftError, match=says):
        raise result.exception
    assert "\n" not in str(result.exception)
    assert not launched


def test_a_run_directory_belongs_to_one_run(launched, given):
    assert train(given, "--output-dir", "out").exit_code == 0
    again = train(given, "--output-dir", "out", "--seed", 8)
    assert "not empty" in str(again.exception)
    resumed = CliRunner().invoke(app, ["train", "--resume", "out"])
    assert resumed.exit_code == 0, resumed.output
    assert launched[1][1] == launched[0][1]
    (Path("out") / "adapter").mkdir()
    CliRunner().invoke(app, ["train", "--resume", "out"])
    assert len(launched) == 2


def test_a_run_goes_on_with_the_data_that_it_began_with(launched, given):
    train(given, "--output-dir", "first")
    store = Path(shutil.copytree(launched[0][1].store, "store")).absolute()
    train(given, "--output-dir", "out", data=store)
    assert CliRunner().invoke(app, ["train", "--resume", "out"]).exit_code == 0
    (given / "other.csv").write_text("sent0,sent1,hard_neg\na,b,c\n")
    train(given, "--output-dir", "other", data="other.csv")
    shutil.rmtree(store)
    shutil.copytree(launched[-1][1].store, store)
    before = len(launched)
    refused = CliRunner().invoke(app, ["train", "--resume", "out"])
    assert f"{store}: not the data that " in str(refused.exception)
    (store / "triplets.arrow").unlink()
    refused = CliRunner().invoke(app, ["train", "--resume", "out"])
    assert f"{store}: not the data that " in str(refused.exception)
    assert len(launched) == before


def test_a_command_killed_while_it_tokenised_is_given_again(launched, given):
    tokenising = (
        "import pathlib, time\nfrom cft.files import whole_folder\n"
        "with whole_folder(pathlib.Path('out/store')):\n"
        "    print('begun', flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", tokenising], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"begun\n"
        # As long as it lives, the directory is its own.
        refused = train(given, "--output-dir", "out")
        assert str(refused.exception) == "out: not empty; name another --output-dir"
    finally:
        other.kill()
        other.communicate()
    assert list(Path("out").iterdir())
    result = train(given, "--output-dir", "out")
    assert result.exit_code == 0, result.output
    assert {path.name for path in Path("out").iterdir()} == {"store", "spec.json"}


def test_several_machines_share_the_ranks(launched, given):
    train(given, "--output-dir", "first")
    more = ["--num-machines", 2, "--machine-rank", 1, "--main-process-ip", "10.0.0.1"]
    result = train(
        given, *more, "--num-processes", 4, "--output-dir", "out", data=launched[0][1].store
    )
    assert result.exit_code == 0, result.output
    _, spec, machines = launched[1]
    assert (spec.world_size, machines) == (4, Machines(2, 1, "10.0.0.1", 29500))
    odd = train(given, *more, "--num-processes", 3, "--output-dir", "o", data=launched[0][1].store)
    assert "3 ranks on 2 machines" in str(odd.exception)
    raw = train(given, *more, "--output-dir", "o")
    assert "not tokenised; with several machines" in str(raw.exception)
    default = world_size_for(LaunchRecipe(device="cpu"), machines)
    assert default == 2 * world_size_for(LaunchRecipe(device="cpu"))


def test_accelerate_reads_the_machines_as_meant(monkeypatch):
    from cft.training.launch import launch_command

    machines = Machines(2, 1, "127.0.0.1", 29777)
    args = accelerate_arguments(launch_command(Path("run"), 4, "cpu", machines))
    assert (args.num_processes, args.num_machines, args.machine_rank) == (4, 2, 1)
    assert (args.main_process_ip, args.main_process_port) == ("127.0.0.1", 29777)
    assert args.multi_gpu
    assert args.same_network
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    environment = launch_environment(4, "cpu", machines)
    assert environment["GLOO_SOCKET_IFNAME"] == "lo"
    assert environment["OMP_NUM_THREADS"] == launch_environment(2, "cpu")["OMP_NUM_THREADS"]
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    assert launch_environment(4, "cpu", machines)["GLOO_SOCKET_IFNAME"] == "eth7"
