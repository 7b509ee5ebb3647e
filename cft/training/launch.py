"""The command line that starts the ranks of a training run."""

import fcntl
import os
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from cft.errors import CftError
from cft.recipe import LaunchRecipe

CONFIG = Path(__file__).with_name("accelerate.yaml")

_SIOCGIFADDR = 0x8915  # <linux/sockios.h>


@dataclass(frozen=True)
class Machines:
    """How several machines train one run; the launcher is started on each of them.

    Attributes:
        count: machines, all with the same number of ranks.
        rank: which one this is; machine 0 keeps events, checkpoints and the result.
        main_ip: address of machine 0 that the others reach.
        main_port: free port there.
    """

    count: int = 1
    rank: int = 0
    main_ip: str = ""
    main_port: int = 29500

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise CftError(
                f"--machine-rank: {self.rank} on {self.count} machines; "
                "number them from 0 and say how many by --num-machines"
            )
        if self.count > 1 and not self.main_ip:
            raise CftError("--main-process-ip: missing; give the address of machine 0")

    def ranks_here(self, world_size: int) -> int:
        """Ranks on each machine.

        Raises:
            CftError: the machines cannot share ``world_size`` ranks evenly.
        """
        if world_size % self.count:
            raise CftError(
                f"launch.num_processes: {world_size} ranks on {self.count} machines; give a "
                "multiple of --num-machines, it counts the ranks of all"
            )
        return world_size // self.count


ALONE = Machines()


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


def world_size_for(launch: LaunchRecipe, machines: Machines = ALONE) -> int:
    """Ranks of all machines: what the recipe says, else for each machine one per visible GPU, one
    on MPS, two on a CPU.

    Raises:
        CftError: more ranks are asked for than there are GPUs, or the machines cannot share them.
    """
    import torch

    device = resolve_device(launch.device)
    asked = machines.ranks_here(launch.num_processes) if launch.num_processes else None
    if device == "cuda":
        gpus = torch.cuda.device_count()
        if asked is not None and asked > gpus:
            raise CftError(
                f"launch.num_processes: {asked} ranks on {gpus} visible GPUs; "
                "ask for at most one rank per GPU"
            )
        return (asked or gpus) * machines.count
    if device == "mps":
        if (asked or 1) > 1 or machines.count > 1:
            raise CftError("launch.num_processes: MPS has one device; ask for one process")
        return 1
    return (asked or min(2, os.cpu_count() or 1)) * machines.count


def launch_command(
    run: Path, world_size: int, device: str, machines: Machines = ALONE
) -> list[str]:
    """The command that trains the run directory ``run`` on this machine's share of the ranks.

    On a CPU two ranks need ``--multi_gpu``, in spite of its name: with ``--cpu`` accelerate starts
    one process and says nothing. The launcher passes SIGTERM on, and its ranks, each in a session
    of its own, end with it when it is killed.
    """
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIG)]
    if machines.count > 1:
        command += ["--multi_gpu", "--same_network", "--machine_rank", str(machines.rank)]
        command += ["--main_process_ip", machines.main_ip]
        command += ["--main_process_port", str(machines.main_port)]
    elif world_size > 1:
        # Port 0: the rendezvous takes a free one, so that two runs never meet each other.
        command += ["--multi_gpu", "--main_process_port", "0"]
    machines.ranks_here(world_size)
    command += ["--num_processes", str(world_size), "--num_machines", str(machines.count)]
    return [*command, "-m", "cft.training.main", str(run)]


def launch_environment(world_size: int, device: str, machines: Machines = ALONE) -> dict[str, str]:
    """Variables to add to the environment of :func:`launch_command`."""
    environment = {
        "TOKENIZERS_PARALLELISM": "false",
        # The ranks log through Python; a pipe would otherwise hold their lines back.
        "PYTHONUNBUFFERED": "1",
    }
    if resolve_device(device) != "cuda":
        ranks = machines.ranks_here(world_size)
        threads = max(1, len(os.sched_getaffinity(0)) // ranks) if _has_affinity() else 1
        environment["OMP_NUM_THREADS"] = str(threads)
        # Spinning threads would take the cores from the other ranks and from everybody else.
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
        # Without this a machine that has GPUs would use them against the recipe.
        environment["CUDA_VISIBLE_DEVICES"] = ""
        environment["ACCELERATE_USE_CPU"] = "true" if resolve_device(device) == "cpu" else "false"
        if machines.count > 1 and (name := _interface_towards(machines.main_ip)):
            # Gloo listens where the host's own name points, which is often 127.0.0.1.
            environment["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", name)
    return environment


def _has_affinity() -> bool:
    return hasattr(os, "sched_getaffinity")  # Linux has it, macOS has not


def _interface_towards(host: str) -> str | None:
    """Name of the network interface from which packets to ``host`` leave; None when unknown."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # sends nothing
            own = probe.getsockname()[0]
            for _, name in socket.if_nameindex():
                request = struct.pack("256s", name.encode())
                try:
                    answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
                except OSError:  # an interface without an address
                    continue
                if socket.inet_ntoa(answer[20:24]) == own:
                    return name
    except OSError:
        return None
    return None
