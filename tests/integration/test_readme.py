"""The README is true: every command and every Python block in it is executed here.

A command without an executor below fails the first test, so a README that grows without its test
does not pass. One home folder is shared, and the commands run in the README's order.
"""

import json
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cft.mining.dense import DenseEngine
from cft.mining.mine import mine
from cft.mining.question import Pairs
from cft.mining.settings import MiningSettings
from cft.triplets.prepare import load_triplets
from tests.hub import Repository, serve
from tests.integration.command import run
from tests.integration.pilot import Pilot, finished_pilot
from tests.integration.readme import blocks, commands, write_data
from tests.integration.server import free_port, get
from tests.jupyter import Page, end
from tests.tiny import save_backbone

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PILOT = "make pilot"
TEST = "make test"
UP, STATUS, DOWN = (f".venv/bin/cft {word}" for word in ("up --detach", "status", "down"))
REAL = ".venv/bin/cft pilot --itihasa data/itihasa --vbt data/vbt.json --num-rows 2000"
SHORTER = (
    "--nano-max-steps 10 --stage1-max-steps 4 --stage1-warmup-steps 1 --stage2-max-steps 4 "
    "--stage2-warmup-steps 1 --num-processes 1"
)
FETCH = ".venv/bin/cft model fetch sarvam-1"
TRAIN = (
    ".venv/bin/cft train --model-name-or-path pretrained/sarvam-1 --train-data-path triplets.csv "
    "--output-dir train/output/first --max-steps 200 --bf16"
)
CONTINUE = (
    ".venv/bin/cft train --stage stage2 --model-name-or-path pretrained/sarvam-1 "
    "--train-data-path domain.csv --adapter-path train/output/first/adapter --max-steps 50"
)
RESUME = ".venv/bin/cft train --resume train/output/first"
WRITE = ".venv/bin/cft recipe pilot > mine.yaml"
OWN = ".venv/bin/cft two-stage --recipe mine.yaml"
DATA = {
    ".venv/bin/cft data itihasa --itihasa data/itihasa --num_rows 5000 "
    "--output_csv itihasa.csv": "itihasa.csv",
    ".venv/bin/cft data vbt --vbt data/vbt.json --itihasa data/itihasa --output_csv vbt.csv": (
        "vbt.csv.manifest.json"
    ),
    ".venv/bin/cft data vbt-eval --vbt data/vbt.json --output vbt_eval.json": (
        "vbt_eval_retrieval.json"
    ),
    ".venv/bin/cft data preprocess --input_csv itihasa.csv "
    "--tokenizer_path pretrained/sarvam-1 --output_dir processed": "processed/tokens.arrow",
    ".venv/bin/cft data mine --input vbt.csv --output mined.jsonl --method bm25": "mined.jsonl",
    ".venv/bin/cft data inspect processed --samples 2": "processed/manifest.json",
}
EVALUATION = {
    ".venv/bin/cft eval trika --model_path pretrained/sarvam-1 --output_dir eval/base": (
        "eval/base/evaluation.json"
    ),
    ".venv/bin/cft eval trika --model_path train/output/first --base eval/base "
    "--output_dir eval/tuned": "eval/tuned/evaluation.json",
    ".venv/bin/cft eval sanskrit-sts --eval_data vbt_eval.json "
    "--model_path pretrained/sarvam-1": "vbt_eval.json",
    ".venv/bin/cft eval compare eval/base eval/tuned": "eval/tuned/items.npz",
    ".venv/bin/cft eval report eval/base eval/tuned --output-dir eval/page": (
        "eval/page/report.html"
    ),
    ".venv/bin/cft eval mteb-sts --model-path pretrained/sarvam-1 "
    "--tasks TrikaSTS,TrikaRetrieval --no-track": "pretrained/sarvam-1/config.json",
    ".venv/bin/cft model export train/output/first exported": "exported/modules.json",
}
PREPARE = ".venv/bin/cft prepare --recipe pilot"
RETRAIN = ".venv/bin/cft retrain --recipe pilot --policy promote"
DEPLOY = ".venv/bin/cft deploy --api http://127.0.0.1:4200/api"
WORKER = (
    "PREFECT_API_URL=http://127.0.0.1:4200/api .venv/bin/prefect worker start --pool cpu "
    "--type process"
)
TRIGGER = (
    "PREFECT_API_URL=http://127.0.0.1:4200/api .venv/bin/prefect deployment run two-stage/pilot "
    "--watch"
)
NOTEBOOK = ".venv/bin/cft notebook --machine local"
NOTEBOOK_STOP = f"{NOTEBOOK} --stop"
DOCTORS = (".venv/bin/cft doctor", ".venv/bin/cft machines doctor --machine local")
VENV = "python3.11 -m venv .venv"
INSTALL = ".venv/bin/pip install --constraint constraints.txt --editable '.[dev]'"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]


@dataclass(frozen=True)
class Place:
    """A folder that looks like a clone, with the README's data in it, and its environment."""

    folder: Path
    home: Path
    env: dict[str, str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("clone")
    home = tmp_path_factory.mktemp("user")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    write_data(folder / "data")
    kept = {
        name: value
        for name, value in os.environ.items()
        # MAKE…: an outer `make test ARGS=…` would hand its arguments to the `make` tested here.
        if not name.startswith(("PREFECT_", "MLFLOW_", "CFT_", "PYTEST_", "MAKE", "MFLAGS", "ARGS"))
    }
    return Place(folder, home, kept | {"HOME": str(home)})


@pytest.fixture(scope="module")
def pilot(place: Place) -> Pilot:
    return finished_pilot(run(PILOT, ROOT, place.env), place.home / ".cft")


def test_every_command_has_an_executor():
    known = {PILOT, TEST, UP, STATUS, DOWN, REAL, WRITE, OWN, VENV, INSTALL}
    known |= {FETCH, TRAIN, CONTINUE, RESUME, *DATA, *EVALUATION, PREPARE, DEPLOY, TRIGGER, RETRAIN}
    known |= {NOTEBOOK, NOTEBOOK_STOP, *DOCTORS}
    assert set(commands(README)) == known


def test_the_two_commands_stand_first():
    assert commands(README)[:2] == [PILOT, TEST]


def test_make_pilot_learns_within_its_memory(pilot: Pilot):
    assert pilot.ended.code == 0, pilot.ended.output[-4000:]
    base, stage1 = pilot.figure("base", "mean/mrr"), pilot.figure("stage1", "mean/mrr")
    assert stage1.value >= 3 * base.value
    assert stage1.low > base.high
    assert pilot.ended.peak_bytes < 6e9
    print(f"pilot: {pilot.ended.seconds:.0f} s, {pilot.ended.peak_bytes / 1e9:.2f} GB")


def test_the_pilot_prints_what_the_readme_shows(pilot: Pilot):
    output = pilot.ended.output
    shown = README.read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+?) \|", shown.split("## What you will see")[1], re.MULTILINE)
    metrics = [row for row in rows if row[0].isupper()]
    assert len(metrics) > 20
    for metric in metrics:
        assert metric in output
    assert "the 95% intervals do not overlap" in output
    assert "alias candidate" in output
    assert UP.removesuffix(" --detach") in output
    for name in ("loss.png", "similarities.png", "heatmap.png"):
        assert list((pilot.home / "runs").rglob(name))


def test_make_test_runs_all_of_them(place: Place):
    # Shown only: this test is itself part of `make test`.
    ended = run(TEST.replace("make", "make -n"), ROOT, place.env)
    assert ended.code == 0, ended.output[-2000:]
    assert re.search(r"^\S*python -m pytest --numprocesses \d+ *$", ended.output, re.M), (
        ended.output
    )


@pytest.fixture(scope="module")
def own(place: Place) -> Path:
    """A recipe of the user's own: the pilot's, with a few steps a stage and one rank for them."""
    assert run(WRITE, place.folder, place.env).code == 0
    recipe = place.folder / "mine.yaml"
    text = recipe.read_text("utf-8")
    text = text.replace("name: pilot", "name: mine")
    text = re.sub(r"max_steps: (400|40)\b", "max_steps: 4", text)
    text = re.sub(r"warmup_steps: (100|10)\b", "warmup_steps: 1", text)
    text = text.replace("num_processes: 2", "num_processes: 1")
    recipe.write_text(text, "utf-8")
    return recipe


def test_own_recipe_is_written_changed_and_run(pilot: Pilot, place: Place, own: Path):
    ended = run(OWN, place.folder, place.env)
    assert ended.code == 0, ended.output[-4000:]
    assert "Recipe mine" in ended.output
    reused = [line.split()[:1] for line in ended.output.splitlines() if line.endswith(" reused")]
    assert len(reused) >= 4  # corpus, backbone, both stores, the base's evaluation


def test_real_texts_in_the_same_flow(place: Place):
    """Shortened: the whole job takes ten minutes, and what it learns another test holds."""
    ended = run(f"{REAL} {SHORTER}", place.folder, place.env)
    assert ended.code == 0, ended.output[-4000:]
    done = finished_pilot(ended, place.home / ".cft")
    manifest = json.loads((Path(done.result["corpus"]) / "manifest.json").read_text("utf-8"))
    assert manifest["epic"]["rows"]["train"] <= 2000
    assert manifest["stage1"]["kinds"].keys() == {"cross_lingual", "mono_sa"}
    assert done.figure("stage2", "mean/mrr").value > 0


@pytest.fixture(scope="module")
def fetched(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's command fetches, from a small hub of our own."""
    with serve() as hub:
        tiny = save_backbone(tmp_path_factory.mktemp("hub") / "tiny")
        hub.repositories["sarvamai/sarvam-1"] = Repository.of(tiny)
        ended = run(FETCH, place.folder, place.env | {"HF_ENDPOINT": hub.url})
    assert ended.code == 0, ended.output
    return place.folder / "pretrained" / "sarvam-1"


@pytest.fixture(scope="module")
def trained(place: Place, fetched: Path) -> Path:
    """The README's first run of a stage alone."""
    lines = [f"anchor {n},positive {n},other {n % 7}" for n in range(60)]
    for name in ("triplets.csv", "domain.csv"):
        text = "\n".join(["sent0,sent1,hard_neg", *lines]) + "\n"
        (place.folder / name).write_text(text, "utf-8")
    ended = run(TRAIN, place.folder, place.env)
    assert ended.code == 0, ended.output[-4000:]
    assert "adapter in" in ended.output
    return place.folder / "train" / "output" / "first"


def test_a_fetched_backbone_is_trained_without_an_orchestrator(place: Place, trained: Path):
    ended = run(CONTINUE, place.folder, place.env)
    assert ended.code == 0, ended.output[-4000:]
    assert "adapter in" in ended.output
    assert "trained already" in run(RESUME, place.folder, place.env).output
    adapters = place.folder.glob("train/output/*/adapter/adapter_model.safetensors")
    assert len(list(adapters)) == 2


def test_every_verb_of_the_data_writes_what_it_says(place: Place, fetched: Path):
    for command, written in DATA.items():
        ended = run(command, place.folder, place.env)
        assert ended.code == 0, ended.output[-4000:]
        assert (place.folder / written).stat().st_size > 0, command
    assert "histogram" not in ended.output, "lengths are shown as bars"


def test_every_verb_of_the_evaluation_writes_what_it_says(place: Place, trained: Path):
    if not (place.folder / "vbt_eval.json").exists():
        made = next(command for command in DATA if "vbt-eval" in command)
        assert run(made, place.folder, place.env).code == 0
    for command, written in EVALUATION.items():
        ended = run(command, place.folder, place.env)
        assert ended.code == 0, f"{command}: {ended.output[-4000:]}"
        assert (place.folder / written).stat().st_size > 0, command


def test_the_data_of_a_recipe_are_prepared_once(pilot: Pilot, place: Place):
    ended = run(PREPARE, place.folder, place.env)
    assert ended.code == 0, ended.output[-4000:]
    assert pilot.result["corpus"] in ended.output
    reused = [line for line in ended.output.splitlines() if line.endswith(" reused")]
    assert len(reused) >= 4  # corpus, backbone, both stores


def test_the_stack_shows_the_pilot_and_runs_a_deployment(pilot: Pilot, place: Place, own: Path):
    """With a few steps: the pilot itself has been run above."""
    short = shlex.quote("recipe=" + json.dumps(yaml.safe_load(own.read_text("utf-8"))))
    port, mlflow = str(free_port()), str(free_port())
    try:
        up = f"{UP} --prefect-port {port} --mlflow-port {mlflow}"
        ended = run(up, place.folder, place.env)
        assert ended.code == 0, ended.output[-4000:]
        assert run(STATUS, place.folder, place.env).code == 0
        page = get(f"http://127.0.0.1:{port}/api/flow_runs/{pilot.result['flow_run_id']}")
        assert '"state_type":"COMPLETED"' in page.replace(" ", "")
        where = f"http://127.0.0.1:{mlflow}/api/2.0/mlflow/runs/get"
        page = get(f"{where}?run_id={pilot.result['mlflow_run_id']}")
        assert '"FINISHED"' in page
        assert "stage1/mean/mrr" in page

        # A server of one's own is brought to the same; this one is there already.
        ended = run(DEPLOY.replace("4200", port), place.folder, place.env)
        assert ended.code == 0, ended.output[-4000:]
        assert WORKER.split(".venv/bin/")[1] in ended.output
        assert any(f"$ {WORKER}\n" in block for block in blocks(README, "console"))

        ended = run(f"{TRIGGER.replace('4200', port)} --param {short}", place.folder, place.env)
        assert ended.code == 0, ended.output[-4000:]
        assert "Completed" in ended.output
        newest = finished_pilot(ended, place.home / ".cft").result
        assert newest["flow_run_id"] != pilot.result["flow_run_id"]
        assert newest["model"] == pilot.result["model"]
        assert int(newest["version"]) > int(pilot.result["version"])
        page = get(f"http://127.0.0.1:{port}/api/flow_runs/{newest['flow_run_id']}")
        assert '"state_type":"COMPLETED"' in page.replace(" ", "")
    finally:
        ended = run(f"{DOWN} --yes", place.folder, place.env)
    assert "the stack is down" in ended.output


def test_a_retraining_finds_that_nothing_is_new(pilot: Pilot, place: Place):
    ended = run(RETRAIN, place.folder, place.env)
    assert ended.code == 0, ended.output[-4000:]
    assert re.search(r"nothing new: version \d+ of cft-embedder", ended.output)


def test_a_notebook_of_this_machine_answers_until_it_is_stopped(place: Place):
    state = place.home / ".cft"
    try:
        ended = run(NOTEBOOK, place.folder, place.env)
        assert ended.code == 0, ended.output
        (url,) = [line for line in ended.output.splitlines() if line.startswith("http://")]
        assert Page(url).answers()
        assert run(NOTEBOOK_STOP, place.folder, place.env).code == 0
        assert not Page(url).answers()
    finally:
        end(state)


def test_the_doctor_finds_this_machine_fit(place: Place):
    for command in DOCTORS:
        ended = run(command, place.folder, place.env)
        assert ended.code == 0, ended.output
        assert "a training can run there" in ended.output


def test_installation_by_hand_is_what_make_did(place: Place):
    """This test runs in what `make` has installed, so the same command by hand works as well."""
    ended = run("make -n setup --always-make PYTHON=python3.11", ROOT, place.env)
    assert ended.code == 0, ended.output[-2000:]
    assert VENV in ended.output
    arguments = INSTALL.split(".venv/bin/pip ")[1]
    assert f"-m pip {arguments}" in re.sub(r" --(quiet|no-compile)", "", ended.output)


def test_python_blocks_run(pilot: Pilot, tmp_path: Path):
    trika, python = blocks(README, "python")
    exec(trika, names := {})
    assert len(names["evalset"].pairs) > 100
    for name, target in {
        "path/to/backbone": pilot.result["backbone"],
        "path/to/run/adapter": pilot.result["adapters"]["stage2"],
    }.items():
        link = tmp_path / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    script = tmp_path / "readme.py"
    script.write_text(python + "\nassert vectors.shape[0] == 2\n", "utf-8")
    ended = run(f"{sys.executable} readme.py", tmp_path, dict(os.environ))
    assert ended.code == 0, ended.output


def test_the_pilots_adapter_finds_harder_negatives_than_were_drawn(pilot: Pilot, tmp_path: Path):
    stage1 = load_triplets(Path(pilot.result["corpus"]), "stage1")
    adapter = Path(pilot.result["adapters"]["stage1"])
    engine = DenseEngine(Path(pilot.result["backbone"]), adapter, "cpu")
    report = mine(Pairs.of(stage1), engine, MiningSettings(), tmp_path / "mined.jsonl")
    assert report["rows_written"] > 0.9 * report["rows"]
    score = {name: one["mean"] for name, one in report["score"].items()}
    gap = score["positive"] - score["random"]
    assert gap > 0.03
    assert abs(score["given"] - score["random"]) < 0.1 * gap, "drawn uniformly: no harder"
    assert score["random"] + 0.3 * gap < score["mined"] < score["positive"]
