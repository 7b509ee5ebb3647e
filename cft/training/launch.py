"""The command line that starts the ranks of a training run."""

import os
import sys
from pathlib import Path

from cft.errors import CftError
from cft.recipe import LaunchRecipe

CONFIG = Path(__file__).with_name("accelerate.yaml")


def resolve_device(device: str) -> str:
    """``cuda``, ``mps`` or ``cpu`` for ``auto``; any other name is checked and returned.

    Raises:
        CftError: this machine has no such device.
    """
    import torch  # 2 s that a caller who only builds a command for a known device need not pay

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    missing = (device == "cuda" and not torch.cuda.is_available()) or (
        device == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise CftError(f"launch.device: this machine has no {device}; use auto or cpu")
    return device


def world_size_for(launch: LaunchRecipe) -> int:
    """Ranks: what the recipe says, else one per visible GPU, one on MPS, two on a CPU.

    Raises:
        CftError: more ranks are asked for than there are GPUs.
    """
    import torch

    device = resolve_device(launch.device)
    if device == "cuda":
        gpus = torch.cuda.device_count()
        if launch.num_processes is not None and launch.num_processes > gpus:
            raise CftError(
                f"launch.num_processes: {launch.num_processes} ranks on {gpus} visible GPUs; "
                "ask for at most one rank per GPU"
            )
        return launch.num_processes or gpus
    if device == "mps":
        if (launch.num_processes or 1) > 1:
            raise CftError("launch.num_processes: MPS has one device; ask for one process")
        return 1
    return launch.num_processes or min(2, os.cpu_count() or 1)


def launch_command(run: Path, world_size: int, device: str) -> list[str]:
    """The command that trains the run directory ``run`` on ``world_size`` ranks of this machine.

    On a CPU two ranks need ``--multi_gpu``, in spite of its name: with ``--cpu`` accelerate starts
    one process and says nothing. The launcher passes SIGTERM on, and its ranks, each in a session
    of its own, end with it when it is killed.
    """
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIG)]
    if world_size > 1:
        # Port 0: the rendezvous takes a free one, so that two runs never meet each other.
        command += ["--multi_gpu", "--main_process_port", "0"]
    command += ["--num_processes", str(world_size), "--num_machines", "1"]
    return [*command, "-m", "cft.training.main", str(run)]


def launch_environment(world_size: int, device: str) -> dict[str, str]:
    """Variables to add to the environment of :func:`launch_command`."""
    environment = {
        "TOKENIZERS_PARALLELISM": "false",
        # The ranks log through Python; a pipe would otherwise hold their lines back.
        "PYTHONUNBUFFERED": "1",
    }
    if resolve_device(device) != "cuda":
        threads = max(1, len(os.sched_getaffinity(0)) // world_size) if _has_affinity() else 1
        environment["OMP_NUM_THREADS"] = str(threads)
        # Spinning threads would take the cores from the other ranks and from everybody else.
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
        # Without this a machine that has GPUs would use them against the recipe.
        environment["CUDA_VISIBLE_DEVICES"] = ""
        environment["ACCELERATE_USE_CPU"] = "true" if resolve_device(device) == "cpu" else "false"
    return environment


def _has_affinity() -> bool:
    return hasattr(os, "sched_getaffinity")  # Linux has it, macOS has not
