"""``cft train`` as a user starts it: real processes, signals, resumption, two machines."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from cft.tracking.run_directory import RunDirectory
from tests.tiny import save_backbone

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

SMALL = [
    "--max_steps", "6", "--warmup_steps", "1", "--learning_rate", "1e-2", "--max-length", "64",
    "--lora_r", "4", "--lora_alpha", "8", "--lora_dropout", "0", "--logging_steps", "1",
    "--save_steps", "2", "--lora_target_modules", "q_proj", "v_proj", "--bf16", "False",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a backbone and a file of triplets."""
    folder = tmp_path_factory.mktemp("train")
    save_backbone(folder / "backbone")
    draw = np.random.default_rng(0)
    words = [f"{''.join(draw.choice(list('abcdefgh '), 12))}{n}" for n in range(60)]
    rows = [",".join(draw.choice(words, 3, replace=False)) for _ in range(43)]
    (folder / "triplets.csv").write_text("\n".join(["sent0,sent1,hard_neg", *rows]) + "\n")
    return folder


def start(
    place: Path, *arguments: object, namespace: str | None = None, core: int | None = None
) -> subprocess.Popen:
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    inside += ["taskset", "--cpu-list", str(core)] if core is not None else []
    return subprocess.Popen(
        [*inside, sys.executable, "-m", "cft.cli", "train", *map(str, arguments)], cwd=place,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finish(process: subprocess.Popen) -> tuple[int, str]:
    try:
        output, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, output


def train(place: Path, *arguments: object) -> tuple[int, str]:
    return finish(start(place, *arguments))


def begin(place: Path, output: str, *arguments: object) -> list[object]:
    data = ["--model_name_or_path", "backbone", "--train_data_path", "triplets.csv"]
    return [*data, "--output_dir", output, *SMALL, *arguments]


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def losses(run: Path) -> list[float]:
    events, _ = RunDirectory(run).read_events()
    return [one["values"]["train/loss"] for one in events if one["kind"] == "metric"]


@pytest.fixture(scope="module")
def whole(place) -> Path:
    code, output = train(place, *begin(place, "whole", "--per_device_train_batch_size", 6))
    assert code == 0, output
    assert "trained to step 6 in" in output.splitlines()[-1]
    assert "world size 2, global batch 12" in output
    return place / "whole"


def test_a_run_leaves_spec_log_and_adapter(whole):
    spec = json.loads((whole / "spec.json").read_text())
    assert (spec["stage"], spec["world_size"]) == ("stage1", 2)
    assert spec["recipe"]["model"]["lora"]["target_modules"] == ["q_proj", "v_proj"]
    assert spec["recipe"]["stage1"]["batch_size"] == 6
    assert len(losses(whole)) == 6
    (log,) = whole.glob("train-*.log")
    assert "global batch 12" in log.read_text()
    assert len(weights(whole)) == 8


def test_output_is_named_by_the_time_of_the_start(place, whole):
    shutil.rmtree(place / "train", ignore_errors=True)
    code, output = train(
        place, "--model-name-or-path", "backbone", "--train-data-path", whole / "store",
        "--batch-size", 50, "--num-processes", 1,
    )  # fmt: skip
    # A batch that is larger than the data is found by the ranks; their code comes through.
    assert code == 2, output
    assert "50 in all, but" in output.splitlines()[-1]
    (folder,) = (place / "train" / "output").iterdir()
    assert len(folder.name) == 14
    assert folder.name.startswith("20")


def test_an_interrupt_ends_all_ranks_and_the_run_resumes(place, whole):
    name = "interrupted"
    # The schedule depends on the number of steps: the same six, stopped on the way.
    process = start(place, *begin(place, name, "--batch-size", 6))
    run = RunDirectory(place / name)
    deadline = time.monotonic() + 120
    while not any(run.checkpoints.glob("checkpoint-2")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    everyone = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    _, alive = psutil.wait_procs(everyone, timeout=10)
    assert not alive
    if code == 0:  # six steps are quick: the signal came too late, and nothing was lost
        assert run.adapter.is_dir()
    else:
        assert code == 1, output
        assert "cft train --resume" in output.splitlines()[-1]
        assert run.read_status()["state"] == "killed"
        code, output = train(place, "--resume", name)
        assert code == 0, output
        assert "resuming from checkpoint-" in output
    for key, value in weights(whole).items():
        np.testing.assert_array_equal(weights(place / name)[key], value)


def test_nothing_outlives_a_killed_command(place, whole):
    process = start(place, *begin(place, "killed", "--batch-size", 6, "--max-steps", 100_000))
    run = RunDirectory(place / "killed")
    deadline = time.monotonic() + 120
    while not len(run.read_events()[0]) >= 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second, output = train(place, "--resume", "killed")
    assert (second, "another process trains it" in output) == (2, True)
    everyone = psutil.Process(process.pid).children(recursive=True)
    assert len(everyone) >= 3
    process.kill()
    _, alive = psutil.wait_procs(everyone, timeout=30)
    assert not alive


def test_a_finished_run_is_not_trained_again(place, whole):
    before = (whole / "events.jsonl").read_bytes()
    code, output = train(place, "--resume", "whole")
    assert code == 0, output
    assert "trained already; adapter in" in output
    assert (whole / "events.jsonl").read_bytes() == before


def test_an_adapter_is_continued_with_its_own_shape(place, whole):
    code, output = train(
        place, "--model-name-or-path", "backbone", "--train-data-path", "triplets.csv",
        "--adapter-path", "whole/adapter", "--stage", "stage2", "--output-dir", "second",
        "--max-steps", 2, "--warmup-steps", 0, "--batch-size", 6, "--logging-steps", 1,
    )  # fmt: skip
    assert code == 0, output
    spec = json.loads((place / "second" / "spec.json").read_text())
    assert spec["recipe"]["model"]["lora"]["r"] == 4
    assert spec["recipe"]["model"]["max_length"] == 64
    assert spec["recipe"]["stage2"]["max_steps"] == 2
    assert losses(place / "second")[0] < losses(whole)[0]


@pytest.fixture
def two_hosts():
    """Two network namespaces that see each other, and nothing else, through a cable."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces are made here: run as root, with iproute2 installed")
    names = [f"cft{os.getpid()}{end}" for end in "ab"]
    cables = [f"v{os.getpid()}{end}" for end in "ab"]

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for number, (name, cable) in enumerate(zip(names, cables, strict=True), 1):
            ip("link", "set", cable, "netns", name)
            ip("-n", name, "addr", "add", f"10.98.76.{number}/24", "dev", cable)
            ip("-n", name, "link", "set", cable, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def on_two_hosts(place: Path, hosts: list[str], output: str, *arguments: object, own=True) -> list:
    """Start the same command in both namespaces, on one core each.

    Each host has a run directory of its own, unless ``own`` is False.
    """
    cores = sorted(os.sched_getaffinity(0))
    data = ["--model-name-or-path", "backbone", "--train-data-path", "whole/store"]
    reached = ["--num-machines", 2, "--main-process-ip", "10.98.76.1"]
    common = [*data, *SMALL, *reached, "--num-processes", 2, "--batch-size", 6, *arguments]
    return [
        start(
            place,
            *common,
            "--main-process-port",
            29611,
            "--machine-rank",
            rank,
            "--output-dir",
            f"{output}-{rank}" if own else output,
            namespace=host,
            core=cores[rank % len(cores)],
        )
        for rank, host in enumerate(hosts)
    ]


def test_two_machines_compute_what_one_computes(place, whole, two_hosts):
    results = [finish(one) for one in on_two_hosts(place, two_hosts, "host")]
    for code, output in results:
        assert code == 0, output
    assert json.loads((place / "host-0" / "spec.json").read_text())["world_size"] == 2
    # Two ranks on one host have a core each as well: not a bit differs.
    np.testing.assert_array_equal(losses(place / "host-0"), losses(whole))
    for key, value in weights(whole).items():
        np.testing.assert_array_equal(weights(place / "host-0")[key], value)
    # Only machine 0 keeps the record.
    assert not (place / "host-1" / "adapter").exists()
    assert not (place / "host-1" / "events.jsonl").exists()


def test_one_run_directory_may_be_shared_and_one_loss_ends_both(place, whole, two_hosts):
    both = on_two_hosts(place, two_hosts, "shared", "--max-steps", 100_000, own=False)
    run = RunDirectory(place / "shared")
    deadline = time.monotonic() + 120
    while not any(run.checkpoints.glob("checkpoint-*")):
        assert all(one.poll() is None for one in both), [finish(one) for one in both]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    both[1].kill()
    code, output = finish(both[0])
    assert code == 1, output
    assert run.read_status()["state"] in {"failed", "killed"}
    finish(both[1])
    assert not run.adapter.exists()
    # What one machine alone has is no state to go on from.
    shutil.copytree(run.path, place / "alone-0")
    (place / "alone-1").mkdir()
    shutil.copy(run.spec, place / "alone-1")
    reached = ["--num-machines", 2, "--main-process-ip", "10.98.76.1"]
    both = [
        start(place, "--resume", f"alone-{rank}", "--machine-rank", rank, *reached, namespace=host)
        for rank, host in enumerate(two_hosts)
    ]
    code, output = finish(both[0])
    assert code == 2, output
    assert "the ranks see checkpoints of different steps" in output
    finish(both[1])
