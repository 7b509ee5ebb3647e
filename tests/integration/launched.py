"""Training as it is really started, for tests: inputs, launcher, signals and what was logged."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from cft.model.identity import backbone_digest
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import LaunchRecipe, LoraRecipe, ModelRecipe, Recipe, TrainRecipe
from cft.tracking.run_directory import RunDirectory
from cft.training.launch import launch_command, launch_environment
from cft.training.spec import TrainSpec
from tasks.machine import process_table, supervisor
from tests.tiny import save_backbone, tiny_store

LORA = LoraRecipe(r=8, alpha=16, dropout=0.0, target_modules=["q_proj", "v_proj", "down_proj"])
TRAIN = TrainRecipe(
    learning_rate=1e-2, max_steps=12, warmup_steps=2, batch_size=6, logging_steps=1, save_steps=4
)


class Inputs:
    """A tiny backbone with its tokenizer, and a store tokenised for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backbone = save_backbone(folder / "backbone")
        self.model = ModelRecipe(backbone=str(self.backbone), max_length=64, lora=LORA)
        self.contract = TextContract.of(
            self.model, load_tokenizer(self.backbone), backbone_digest(self.backbone)
        )
        # 43 rows are no multiple of any batch here, so that batches cross the end of an epoch.
        tiny_store(folder / "store", rows=43, texts=60, terms=self.contract)

    def run(self, name: str, world: int = 2, lora: dict | None = None, **options) -> RunDirectory:
        """A run directory with its spec; ``options`` change the stage or the spec."""
        of_spec = {key: options.pop(key) for key in ("init_adapter", "stage") if key in options}
        model = self.model.model_copy(update={"lora": LORA.model_copy(update=lora or {})})
        stage = TRAIN.model_copy(update=options)
        recipe = Recipe(model=model, stage1=stage, stage2=stage, launch=LaunchRecipe(device="cpu"))
        spec = TrainSpec(
            recipe=recipe, store=str(self.folder / "store"), backbone=str(self.backbone),
            world_size=world, **{"stage": "stage1", **of_spec},
        )  # fmt: skip
        run = RunDirectory(self.folder / name)
        spec.save(run.spec)
        return run


def start(run: RunDirectory, world: int) -> subprocess.Popen:
    with run.new_log().open("wb") as log:
        return subprocess.Popen(
            launch_command(run.path, world, "cpu"), stdout=log, stderr=subprocess.STDOUT,
            env=os.environ | launch_environment(world, "cpu"), start_new_session=True,
        )  # fmt: skip


def finish(run: RunDirectory, world: int = 2) -> int:
    process = start(run, world)
    try:
        return process.wait(timeout=180)
    finally:
        stop(process, signal.SIGKILL)


def stop(process: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
    process.wait(timeout=60)


def kill_all(process: subprocess.Popen) -> None:
    """SIGKILL for launcher and ranks at once, as a lost machine would do."""
    launcher = psutil.Process(process.pid)
    everyone = [*launcher.children(recursive=True), launcher]
    for one in everyone:
        one.suspend()  # so that none sees another die
    for one in everyone:
        one.kill()
    psutil.wait_procs(everyone, timeout=60)
    process.wait(timeout=60)


def wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the training ended before it could be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def held_at_checkpoint(far: RunDirectory) -> Callable[[], None]:
    """Stop the clock of a supervised job at its first checkpoint; what is returned lets it go on.

    A look from afar takes a second, in which a fast machine trains all that is left.
    """
    deadline = time.monotonic() + 120
    while not list(far.checkpoints.glob("checkpoint-*")):
        assert time.monotonic() < deadline, "it saves no checkpoint"
        time.sleep(0.01)
    pids = process_table.members(str(supervisor.read_json(far.path / "supervisor.json")["token"]))
    process_table.signal_all(pids, signal.SIGSTOP)
    assert not far.adapter.exists(), "it ended before it could be disturbed"
    return lambda: process_table.signal_all(pids, signal.SIGCONT)


def losses(run: RunDirectory) -> np.ndarray:
    events, _ = run.read_events()
    metrics = [one for one in events if one["kind"] == "metric"]
    assert [one["step"] for one in metrics] == list(range(1, len(metrics) + 1))
    return np.array([one["values"]["train/loss"] for one in metrics])


def tail(run: RunDirectory) -> str:
    return "\n".join(run.last_log_lines(30))
