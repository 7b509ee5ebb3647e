"""How busy the machine is while it trains: processors, memory and GPUs.

Read from ``/proc`` and, where the package ``nvidia-ml-py`` is installed, from the driver. What a
machine does not offer is left out: nothing here may disturb a training.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

MIB = 1 << 20
INTERVAL = 10.0  # seconds; between two samples at least


class SystemMetrics:
    """Samples the machine, now and then, under the names that MLflow's page of a run looks for.

    Args:
        every: seconds between two samples at least.
        proc: where the kernel tells; elsewhere than in ``/proc`` in tests.
    """

    def __init__(self, every: float = INTERVAL, proc: Path = Path("/proc")) -> None:
        self.every, self.proc = every, proc
        self._next = 0.0
        self._ticks = self._processor_ticks()
        self._gpus = _open_gpus()

    def due(self) -> dict[str, float]:
        """``system/…`` -> value, or nothing where the last sample is not old enough.

        The processors' share is the mean since the last sample.
        """
        now = time.monotonic()
        if now < self._next:
            return {}
        self._next = now + self.every
        values = self._processors() | self._memory()
        for number, gpu in enumerate(self._gpus):
            values |= {f"gpu_{number}_{name}": value for name, value in _of_gpu(gpu).items()}
        return {f"system/{name}": float(value) for name, value in values.items()}

    def _processor_ticks(self) -> tuple[int, int] | None:
        """Ticks of all processors since boot: idle ones, and all."""
        try:
            name, *fields = (self.proc / "stat").read_text().splitlines()[0].split()
            ticks = [int(one) for one in fields[:8]]  # what guests took is in user time already
        except (OSError, ValueError, IndexError):
            return None
        return (ticks[3] + ticks[4], sum(ticks)) if name == "cpu" and len(ticks) > 4 else None

    def _processors(self) -> dict[str, float]:
        before, self._ticks = self._ticks, self._processor_ticks()
        if before is None or self._ticks is None or self._ticks[1] <= before[1]:
            return {}
        idle = (self._ticks[0] - before[0]) / (self._ticks[1] - before[1])
        return {"cpu_utilization_percentage": 100 * min(1.0, max(0.0, 1 - idle))}

    def _memory(self) -> dict[str, float]:
        values = {}
        with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
            lines = (self.proc / "meminfo").read_text().splitlines()
            kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
            used = kib["MemTotal"] - kib["MemAvailable"]
            values["system_memory_usage_megabytes"] = used / 1024
            values["system_memory_usage_percentage"] = 100 * used / kib["MemTotal"]
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int((self.proc / "self" / "statm").read_text().split()[1])
            values["process_memory_usage_megabytes"] = pages * os.sysconf("SC_PAGE_SIZE") / MIB
        return values


def _open_gpus() -> list[Any]:
    """The driver's handles of all GPUs of this machine."""
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        return [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
    except Exception:  # no package, no driver, no permission: each has its own error
        return []


def _of_gpu(handle: Any) -> dict[str, float]:
    import pynvml

    values: dict[str, float] = {}
    # Shared or virtual GPUs answer some of the questions only.
    with contextlib.suppress(pynvml.NVMLError):
        values["utilization_percentage"] = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
    with contextlib.suppress(pynvml.NVMLError):
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        values["memory_usage_megabytes"] = memory.used / MIB
        values["memory_usage_percentage"] = 100 * memory.used / memory.total
    with contextlib.suppress(pynvml.NVMLError):
        values["power_usage_watts"] = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000
    return values
