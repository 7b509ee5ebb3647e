"""The machine's load as the kernel tells it, and what is missing left out."""

from pathlib import Path

import pytest

from cft.training.system import SystemMetrics

MEMINFO = "MemTotal:       4096 kB\nMemFree:        100 kB\nMemAvailable:   1024 kB\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "stat").write_text("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 1 1 1\n")
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "statm").write_text("9999 256 10 1 0 1 0\n")
    return tmp_path


def test_values_and_their_names(proc: Path) -> None:
    system = SystemMetrics(every=0, proc=proc)
    (proc / "stat").write_text("cpu  150 0 125 710 115 0 0 0 90 0\n")  # 75 busy, 25 idle ticks
    values = system.due()
    assert values["system/cpu_utilization_percentage"] == pytest.approx(75)
    assert values["system/system_memory_usage_megabytes"] == 3
    assert values["system/system_memory_usage_percentage"] == 75
    assert values["system/process_memory_usage_megabytes"] >= 1
    (proc / "stat").write_text("cpu  150 0 125 810 115 0 0 0 90 0\n")
    assert system.due()["system/cpu_utilization_percentage"] == 0


def test_it_samples_now_and_then(proc: Path) -> None:
    system = SystemMetrics(every=60, proc=proc)
    assert system.due()
    assert system.due() == {}


@pytest.mark.parametrize("broken", [{}, {"stat": "intr 1", "meminfo": "MemTotal: x kB"}])
def test_what_a_machine_does_not_tell_is_left_out(tmp_path: Path, broken: dict[str, str]) -> None:
    for name, content in broken.items():
        (tmp_path / name).write_text(content)
    found = SystemMetrics(proc=tmp_path).due()
    assert not [name for name in found if "gpu_" not in name]


def test_this_machine() -> None:
    values = SystemMetrics().due()
    assert 0 < values["system/system_memory_usage_percentage"] < 100
    assert values["system/process_memory_usage_megabytes"] > 10
