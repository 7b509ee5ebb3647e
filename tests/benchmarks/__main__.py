"""``make bench``: every benchmark that this machine can run, one after the other.

    python -m tests.benchmarks [NAME ...] [--backbone DIR] [--rows N]

Each prints ratios against a peer that was measured in the same run. Absolute figures belong to the
machine that printed them.
"""

import argparse
import importlib
import os
import platform
from pathlib import Path

BENCHMARKS = (
    "encoding",
    "encoding_cuda",
    "attention_cuda",
    "training_cpu",
    "training_cuda",
    "training_limits",
    "training_ranks",
    "quality",
    "data",
    "orchestration",
    "load",
    "transfer",
)


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--backbone", type=Path, help="a local causal LM; default: a nano model")
    parser.add_argument("--rows", type=int, help="rows of data; 0: all, which takes minutes")
    chosen = parser.parse_args()
    # Before torch is imported, and as the launcher of trainings has it: threads that spin while
    # they wait would measure what else the machine does.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, ", end=""
    )
    print(f"torch {torch.__version__}, CUDA {torch.cuda.is_available()}")
    for name in chosen.names or BENCHMARKS:
        print(f"\n## {name}\n")
        scale = {"rows": chosen.rows} if chosen.rows is not None else {}
        importlib.import_module(f"tests.benchmarks.{name}").main(chosen.backbone, **scale)


if __name__ == "__main__":
    main()
