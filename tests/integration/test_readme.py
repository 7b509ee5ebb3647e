"""The README is true: every command and every Python block in it is executed here.

A command without an executor below fails the first test, so a README that grows without its test
does not pass. One home folder is shared, and the commands run in the README's order.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from cft.corpora.synthetic import epic, verses
from cft.mining.dense import DenseEngine
from cft.mining.mine import mine
from cft.mining.question import Pairs
from cft.mining.settings import MiningSettings
from cft.triplets.prepare import load_triplets
from tests.integration.pilot import Pilot, finished_pilot
from tests.integration.processes import run
from tests.integration.readme import blocks, commands

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PILOT = "make pilot"
TEST = "make test"
PREFECT_UI = "PREFECT_HOME=~/.cft/prefect .venv/bin/prefect server start"
MLFLOW_UI = ".venv/bin/mlflow ui --backend-store-uri sqlite:///$HOME/.cft/mlflow/mlflow.db"
REAL = (
    ".venv/bin/cft pilot --itihasa data/itihasa --vbt data/vbt.json --num-rows 2000 "
    "--triplet-types cross_lingual --stage1-max-steps 300"
)
WRITE = ".venv/bin/cft recipe pilot > mine.yaml"
OWN = ".venv/bin/cft two-stage --recipe mine.yaml"
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
    _write_data(folder / "data")
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
    known = {PILOT, TEST, PREFECT_UI, MLFLOW_UI, REAL, WRITE, OWN, VENV, INSTALL}
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
    for command in (PREFECT_UI, MLFLOW_UI):
        program = command.split(".venv/bin/")[1].split(" ")[0]
        assert f".venv/bin/{program}" in output
    for name in ("loss.png", "similarities.png", "heatmap.png"):
        assert list((pilot.home / "runs").rglob(name))


def test_make_test_collects_every_test(place: Place):
    # Collecting only: this test is itself part of `make test`.
    env = place.env | {"PYTEST_ADDOPTS": "--collect-only -q"}
    ended = run(TEST, ROOT, env)
    assert ended.code == 0, ended.output[-2000:]
    assert "test_readme.py::test_make_test_collects_every_test" in ended.output


def test_prefect_ui_command_serves_the_run(pilot: Pilot, place: Place):
    port = _free_port()
    env = place.env | {"PREFECT_SERVER_API_PORT": str(port)}
    with _serving(PREFECT_UI, place, env, f"http://127.0.0.1:{port}/api/health"):
        flow_run = pilot.result["flow_run_id"]
        page = _get(f"http://127.0.0.1:{port}/api/flow_runs/{flow_run}")
        assert '"state_type":"COMPLETED"' in page.replace(" ", "")


def test_mlflow_ui_command_serves_the_run(pilot: Pilot, place: Place):
    port = _free_port()
    env = place.env | {"MLFLOW_PORT": str(port)}
    with _serving(MLFLOW_UI, place, env, f"http://127.0.0.1:{port}/health"):
        run_id = pilot.result["mlflow_run_id"]
        page = _get(f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/get?run_id={run_id}")
        assert '"FINISHED"' in page
        assert "stage1/mean/mrr" in page


def test_own_recipe_is_written_changed_and_run(pilot: Pilot, place: Place):
    assert run(WRITE, place.folder, place.env).code == 0
    recipe = place.folder / "mine.yaml"
    text = recipe.read_text("utf-8")
    text = text.replace("name: pilot", "name: mine")
    text = re.sub(r"max_steps: (400|40)\b", "max_steps: 4", text)
    text = re.sub(r"warmup_steps: (100|10)\b", "warmup_steps: 1", text)
    recipe.write_text(text, "utf-8")
    ended = run(OWN, place.folder, place.env)
    assert ended.code == 0, ended.output[-4000:]
    assert "Recipe mine" in ended.output
    reused = [line.split()[:1] for line in ended.output.splitlines() if line.endswith(" reused")]
    assert len(reused) >= 4  # corpus, backbone, both stores, the base's evaluation


def test_real_texts_in_the_same_flow(place: Place):
    ended = run(REAL, place.folder, place.env)
    assert ended.code == 0, ended.output[-4000:]
    done = finished_pilot(ended, place.home / ".cft")
    base, stage1 = done.figure("base", "mean/mrr"), done.figure("stage1", "mean/mrr")
    assert stage1.low > base.high


def test_installation_by_hand_resolves(tmp_path: Path, place: Place):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    assert run(VENV, clone, place.env).code == 0
    # `make` has installed for real what this test runs in; here the same command must resolve.
    ended = run(f"{INSTALL} --dry-run", clone, place.env)
    assert ended.code == 0, ended.output[-2000:]
    assert "cft-" in ended.output


def test_python_blocks_run(pilot: Pilot, tmp_path: Path):
    (python,) = blocks(README, "python")
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


def _write_data(folder: Path) -> None:
    """Itihasa and VBT in their public formats: the real ones where they lie near, else made."""
    real = ROOT.parent / "shared" / "data"
    if real.is_dir():
        folder.mkdir()
        (folder / "itihasa").symlink_to(real / "itihasa")
        (folder / "vbt.json").symlink_to(real / "vbt" / "vbt.json")
        return
    import json

    (folder / "itihasa").mkdir(parents=True)
    for split, rows in epic(7).splits.items():
        for suffix, lines in (
            ("sn", [row.sanskrit for row in rows]),
            ("en", [row.english for row in rows]),
        ):
            (folder / "itihasa" / f"{split}.{suffix}").write_text("\n".join(lines) + "\n", "utf-8")
    corpus = verses(7)
    at = {text: row for row, pair in enumerate(corpus.verses) for text in (pair.sanskrit,)}
    pairs = {
        name: [[{"verse": at[a]}, {"verse": at[b]}] for a, b in given if a in at and b in at]
        for name, given in (
            ("similarity_pairs", corpus.similarity_pairs),
            ("dissimilarity_pairs", corpus.dissimilarity_pairs),
        )
    }
    document = {
        "verses": [{"sanskrit": v.sanskrit, "english": v.english} for v in corpus.verses],
        "retrieval_cases": [
            {"query": query, "relevant_verses": rows} for query, rows in corpus.retrieval_cases
        ],
        **pairs,
    }
    (folder / "vbt.json").write_text(json.dumps(document, ensure_ascii=False), "utf-8")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


class _serving:  # noqa: N801 (reads as a verb)
    """Run a server command until its health page answers; end its whole group afterwards."""

    def __init__(self, command: str, place: Place, env: dict[str, str], health: str) -> None:
        self.process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=place.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.health = health

    def __enter__(self) -> None:
        deadline = time.monotonic() + 180
        while True:
            try:
                _get(self.health)
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    assert self.process.stdout is not None
                    pytest.fail(self.process.stdout.read().decode()[-3000:])
                time.sleep(0.5)
            else:
                return

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
