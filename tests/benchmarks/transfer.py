"""Files to a host and back beside rsync over ssh: one file of 200 MB, and 2,000 small ones.

The host is this machine, through an SSH server of the benchmark's own. Ways take turns, so that
both see the same load; every round begins with an empty folder and ends with compared contents.
"""

import filecmp
import os
import shlex
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.transfer.client import pull, push
from tests.sshd import SSHD, USER, Sshd, running

SMALL, SMALL_BYTES = 2_000, 4_000
ROUNDS = 5


def main(backbone: Path | None, rows: int | None = None) -> None:
    """Print seconds of both and their ratio, up and down.

    Args:
        backbone: not used.
        rows: MB of the one file instead of 200.
    """
    if SSHD is None or shutil.which("rsync") is None:
        print("needs openssh-server and rsync; not run")
        return
    os.environ["TQDM_DISABLE"] = "1"  # rsync draws nothing either
    with tempfile.TemporaryDirectory() as scratch, running(Sshd(Path(scratch, "sshd"))) as server:
        folder = Path(scratch)
        sources = {
            f"one file of {(rows or 200)} MB": _big(folder / "big", (rows or 200) * 1_000_000),
            f"{SMALL:,} files of {SMALL_BYTES:,} B": _small(folder / "small"),
        }
        print(f"medians of {ROUNDS} rounds, seconds\n")
        print("| what | way | ours | rsync | rsync --fsync | ours / rsync | ours / rsync --fsync |")
        print("|---|---|---|---|---|---|---|")
        with Connection(server.settings(), KnownHosts(folder / "hosts")) as there:
            there.run("true")
            for what, source in sources.items():
                for way in ("up", "down"):
                    ours, *theirs = _turns(there, server, source, folder / "target", way)
                    row = [f"{seconds:.2f}" for seconds in (ours, *theirs)]
                    row += [f"{ours / seconds:.2f}" for seconds in theirs]
                    print(f"| {what} | {way} | {' | '.join(row)} |", flush=True)


def _turns(there: Connection, server: Sshd, source: Path, target: Path, way: str) -> list[float]:
    """Seconds of ours, of rsync, and of rsync where it too waits for the disk."""
    remote = f"{USER}@127.0.0.1"
    shell = shlex.join(
        ["ssh", "-p", str(server.port), "-i", str(server.client_key), "-o", "BatchMode=yes",
         "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={server.folder}/theirs"]
    )  # fmt: skip
    rsync = ["rsync", "-a", "-W", "-e", shell]

    def ours() -> None:
        if way == "up":
            push(there, source, str(target))
        else:
            pull(there, str(source), target)

    def theirs(*more: str) -> None:
        ends = [f"{source}/", f"{remote}:{target}/"]
        ends = ends if way == "up" else [f"{remote}:{source}/", f"{target}/"]
        subprocess.run([*rsync, *more, *ends], check=True, capture_output=True)

    ways: list[Callable[[], None]] = [ours, theirs, lambda: theirs("--fsync")]
    took: dict[Callable[[], None], list[float]] = {one: [] for one in ways}
    for _ in range(ROUNDS):
        for one, seconds in took.items():
            shutil.rmtree(target, ignore_errors=True)
            os.sync()  # what one way leaves unwritten, another that waits for the disk must not pay
            begun = time.perf_counter()
            one()
            seconds.append(time.perf_counter() - begun)
            names = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
            same, *other = filecmp.cmpfiles(source, target, names, shallow=False)
            assert len(same) == len(names), other
    return [statistics.median(seconds) for seconds in took.values()]


def _big(folder: Path, size: int) -> Path:
    folder.mkdir()
    (folder / "adapter.bin").write_bytes(np.random.default_rng(0).bytes(size))
    return folder


def _small(folder: Path) -> Path:
    draw = np.random.default_rng(1)
    for number in range(SMALL):
        path = folder / f"{number % 40}" / f"{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw.bytes(SMALL_BYTES))
    return folder
