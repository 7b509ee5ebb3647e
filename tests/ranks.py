"""Running a function on several ranks over gloo, for tests of collectives."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing


def _enter(rank: int, world: int, port: int, work: Callable[..., Any], folder: str, args: tuple):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=world)
    try:
        torch.save(work(*args), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def on_ranks(world: int, folder: Path, work: Callable[..., Any], *args: Any) -> list[Any]:
    """What ``work(*args)`` returned on each rank. It must be importable and return tensors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    torch.multiprocessing.spawn(
        _enter, args=(world, port, work, str(folder), args), nprocs=world, join=True
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]
