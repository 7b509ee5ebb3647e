"""What a step leaves unused at Sarvam-1's shape, and a batch of 8,192 triplets on one GPU.

How much of the time the GPU is at work, how often layers are compiled again and how often the host
waits for the GPU, all in the steady state; and GradCache's rate beside the direct one.

Needs a CUDA GPU with 75 GB of memory; elsewhere it says so and ends.
"""

import contextlib
import gc
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.utils import counters
from torch.profiler import ProfilerActivity, profile
from transformers import TrainerCallback

from tests.benchmarks import training_cuda
from tests.benchmarks.shapes import save_sarvam
from tests.benchmarks.training_cuda import RandomStore, peak, rate_of, trained

DIRECT = 192
LARGE, MICRO_TOKENS = 8192, 12_288
WATCHED = (20, 40)  # steps, the first not included
CACHED_STEPS = 2


def main(backbone: Path | None, rows: int = 2 * LARGE) -> None:
    """Print shares and ratios.

    Args:
        backbone: folder of a causal LM of a Llama's make. Empty: Sarvam-1's shape.
        rows: triplets to draw from.
    """
    if not torch.cuda.is_available():
        print("not run: no CUDA GPU here")
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    store = RandomStore(rows)
    with tempfile.TemporaryDirectory() as scratch:
        folder = backbone or save_sarvam(Path(scratch) / "sarvam", "cuda")
        for float8 in (False, True):
            kind = "float8" if float8 else "bfloat16"
            watcher = Watcher()
            with fresh(), watcher.counting_waits():
                path = Path(tempfile.mkdtemp(dir=scratch))
                run = trained(folder, store, DIRECT, path, True, callbacks=[watcher], float8=float8)
                direct, memory = rate_of(run), peak()
            print(f"{kind}, direct, {DIRECT} triplets: {direct:.1f} triplets/s, {memory:.0f} GiB")
            print(f"{kind}, {watcher.told()}", flush=True)
            with fresh(), steps(CACHED_STEPS, 1):
                path = Path(tempfile.mkdtemp(dir=scratch))
                run = trained(
                    folder, store, LARGE, path, True, float8=float8, micro_batch_tokens=MICRO_TOKENS
                )
                cached, memory = rate_of(run, 1), peak()
            print(
                f"{kind}, GradCache, {LARGE:,} triplets by {MICRO_TOKENS:,} tokens: "
                f"{cached:.1f} triplets/s, {cached / direct:.0%} of direct, {memory:.0f} GiB",
                flush=True,
            )


class Watcher(TrainerCallback):
    """Looks at the GPU between two steps of a training."""

    def __init__(self) -> None:
        self.busy = self.wall = 0.0
        self.compiled = self.waits = 0
        self._profile: profile | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Begin after the first of :data:`WATCHED`, end after the second."""
        if state.global_step == WATCHED[0]:
            torch.cuda.synchronize()
            self.compiled, self.waits = -graphs(), 0
            self._profile = profile(activities=[ProfilerActivity.CUDA])
            self._profile.start()
            self._since = time.perf_counter()
        elif state.global_step == WATCHED[1] and self._profile is not None:
            waits = self.waits
            torch.cuda.synchronize()
            self.wall = time.perf_counter() - self._since
            self._profile.stop()
            self.busy = covered(intervals(self._profile)) / 1e6
            self.compiled, self.waits = self.compiled + graphs(), waits
            self._profile = None

    @contextlib.contextmanager
    def counting_waits(self) -> Iterator[None]:
        """Count what torch warns of: calls after which the host waits for the GPU."""

        def heard(message: Warning | str, *_: Any, **__: Any) -> None:
            self.waits += "synchroniz" in str(message)

        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = heard
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield
            finally:
                torch.cuda.set_sync_debug_mode("default")

    def told(self) -> str:
        """One line about all that was seen."""
        first, last = WATCHED
        return (
            f"steps {first + 1} to {last}: GPU busy {self.busy / self.wall:.1%} of "
            f"{self.wall:.2f} s, {self.compiled} graphs compiled, {self.waits} waits of the host "
            f"({(last - first) // training_cuda.WINDOW} logs)"
        )


def graphs() -> int:
    """Graphs that were compiled so far."""
    return int(counters["stats"]["unique_graphs"])


def intervals(watched: profile) -> list[tuple[float, float]]:
    """Begin and end of everything that ran on the GPU, in microseconds."""
    return [
        (one.time_range.start, one.time_range.end)
        for one in watched.events() or ()
        if one.device_type == torch.autograd.DeviceType.CUDA
    ]


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of some intervals: streams may work at the same time."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


@contextlib.contextmanager
def fresh() -> Iterator[None]:
    """Nothing of another way is in memory or compiled."""
    torch._dynamo.reset()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield


@contextlib.contextmanager
def steps(count: int, window: int) -> Iterator[None]:
    """Fewer steps than the other ways take."""
    before = training_cuda.STEPS, training_cuda.WINDOW
    training_cuda.STEPS, training_cuda.WINDOW = count, window
    try:
        yield
    finally:
        training_cuda.STEPS, training_cuda.WINDOW = before
