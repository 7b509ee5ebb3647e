"""Training on several GPUs of one host beside training on one: speed, and the curve of the loss.

Needs two CUDA GPUs with 75 GB each; elsewhere it says so and ends. Each measurement is a start of
``accelerate launch`` of this module, as a flow's training is one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from cft.tracking.run_directory import RunDirectory
from tests.benchmarks.shapes import save_sarvam
from tests.benchmarks.training_cuda import RandomStore, rate_of, trained

SHARE = 192  # triplets of a rank


def main(backbone: Path | None, rows: int = 4096) -> None:
    """Print triplets a second on one GPU and on all, and how far the losses are apart.

    Args:
        backbone: folder of a causal LM. Empty: Sarvam-1's shape.
        rows: triplets to draw from.
    """
    count = torch.cuda.device_count()
    if count < 2:
        print("not run: fewer than two CUDA GPUs here")
        return
    print(f"{count} x {torch.cuda.get_device_name()}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = backbone or save_sarvam(Path(scratch) / "sarvam", "cuda")
        torch.cuda.empty_cache()
        one = launched(1, folder, SHARE, 0.1, True)
        many = launched(count, folder, SHARE, 0.1, True)
        rate, rates = rate_of(one), rate_of(many)
        print(f"1 GPU, {SHARE} triplets a step: {rate:.1f} triplets/s")
        print(f"{count} GPUs, {SHARE * count}: {rates:.1f} triplets/s, {rates / rate:.2f} x")
        # Without dropout, whose masks are drawn by rank, both compute the same.
        alone = launched(1, folder, SHARE, 0.0, False)
        shared = launched(count, folder, SHARE // count, 0.0, False)
    pairs = zip(losses(alone), losses(shared), strict=True)
    apart = max(abs(one - other) / one for one, other in pairs)
    print(f"losses of {len(losses(alone))} logs at {SHARE} triplets a step: {apart:.1e} apart")


def launched(ranks: int, folder: Path, batch: int, dropout: float, compiled: bool) -> RunDirectory:
    """A training of so many ranks."""
    result = Path(tempfile.mkdtemp()) / "run"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(ranks)]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--multi_gpu", "--main_process_port", "0"] if ranks > 1 else []
    command += ["-m", "tests.benchmarks.training_ranks", str(folder), str(result)]
    command += [str(batch), str(dropout), str(int(compiled))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return RunDirectory(result)


def losses(run: RunDirectory) -> list[float]:
    """Logged losses, in order."""
    found = [one["values"] for one in run.read_events()[0] if one["kind"] == "metric"]
    return [values["train/loss"] for values in found if "train/loss" in values]


def rank_main() -> None:
    """What one rank does."""
    from accelerate import PartialState

    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("batch", type=int)
    parser.add_argument("dropout", type=float)
    parser.add_argument("compiled", type=int)
    given = parser.parse_args()
    PartialState()
    given.run.mkdir(parents=True, exist_ok=True)
    store = RandomStore(4096)
    trained(given.folder, store, given.batch, given.run, bool(given.compiled), given.dropout)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    rank_main()
