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
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
SHOWN, NAMED = 14, 100  # kernels, and characters of a kernel's name


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
        self.compiled = 0
        self.waits: Counter[str] = Counter()  # between the two steps, by the line that waits
        self._heard: Counter[str] = Counter()
        self.longest: list[tuple[str, float]] = []
        self._profile: profile | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Begin after the first of :data:`WATCHED`, end after the second."""
        if state.global_step == WATCHED[0]:
            torch.cuda.synchronize()
            self.compiled, self._heard = -graphs(), Counter()
            self._profile = profile(activities=[ProfilerActivity.CUDA])
            self._profile.start()
            self._since = time.perf_counter()
        elif state.global_step == WATCHED[1] and self._profile is not None:
            self.waits = self._heard.copy()  # what comes after it (logs, the end) goes on counting
            torch.cuda.synchronize()
            self.wall = time.perf_counter() - self._since
            self._profile.stop()
            done = work(self._profile)
            self.busy = covered((one.begin, one.end) for one in done) / 1e6
            self.longest = shares(done)
            self.compiled += graphs()
            self._profile = None

    @contextlib.contextmanager
    def counting_waits(self) -> Iterator[None]:
        """Count what torch warns of: calls after which the host waits for the GPU."""

        def heard(message: Any, kind: Any, file: str, line: int, *_: Any, **__: Any) -> None:
            if "synchroniz" in str(message):
                self._heard[f"{Path(file).name}:{line}"] += 1

        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = heard
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield
            finally:
                torch.cuda.set_sync_debug_mode("default")

    def told(self) -> str:
        """One line about all that was seen, and one for each of the longest kernels."""
        first, last = WATCHED
        places = ", ".join(f"{count} in {place}" for place, count in self.waits.most_common())
        return (
            f"steps {first + 1} to {last}: GPU busy {self.busy / self.wall:.1%} of "
            f"{self.wall:.2f} s, {self.compiled} graphs compiled, {self.waits.total()} waits of "
            f"the host ({(last - first) // training_cuda.WINDOW} logs): {places or 'nowhere'}"
            + "".join(f"\n  {share:.1%} {name[:NAMED]}" for name, share in self.longest)
        )


def graphs() -> int:
    """Graphs that were compiled so far."""
    return int(counters["stats"]["unique_graphs"])


@dataclass(frozen=True)
class Work:
    """Something that ran on the GPU; times in microseconds."""

    name: str
    begin: float
    end: float


def work(watched: profile) -> list[Work]:
    """Kernels and copies; ranges that a program names are none, they span gaps as well."""
    return [
        Work(one.name, one.time_range.start, one.time_range.end)
        for one in watched.events() or ()
        if one.device_type == torch.autograd.DeviceType.CUDA and not one.is_user_annotation
    ]


def shares(done: Iterable[Work], most: int = SHOWN) -> list[tuple[str, float]]:
    """The kernels that took the longest together, and their parts of all time; longest first."""
    took: defaultdict[str, float] = defaultdict(float)
    for one in done:
        took[one.name] += one.end - one.begin
    whole = sum(took.values())
    ordered = sorted(took.items(), key=lambda item: item[1], reverse=True)
    return [(name, part / whole) for name, part in ordered[:most]]


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
