"""What recorded hosts say, as facts: what is not known is None and never 0."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.machine.driver.parse import Cuda, Gpu, PciGpu, parse, value
from tasks.machine.driver.probe import CUDA, SMI_FIELDS, bounded, probe
from tasks.machine.remote import LocalRemote, Result
from tests.driver_hosts import facts_of


def test_a_sound_host() -> None:
    facts = facts_of()
    (gpu,) = facts.smi.gpus
    assert gpu == Gpu(
        index=0,
        uuid="GPU-2f3b1e2c-1a6b-7f0e-9d3c-5e2b7a9c4d10",
        name="NVIDIA H100 80GB HBM3",
        driver="580.95.05",
        memory_total=81559,
        memory_used=4,
        utilization=0,
        temperature=31,
        bus="00000000:06:00.0",
        compute="9.0",
    )
    assert facts.cuda == Cuda(0, 1, "13.0")
    assert facts.bus == (PciGpu("0000:06:00.0", 0x2330),)
    assert (facts.distribution, facts.release, facts.source) == ("ubuntu", "24.04", "ubuntu")
    assert (facts.loaded, facts.on_disk) == ("580.95.05", "580.95.05")
    assert (facts.root, facts.sudo, facts.nouveau, facts.secure_boot) == (False, True, False, False)
    assert facts.disk_free == 485778460 * 1024
    assert facts.shm == 115343360 * 1024
    assert facts.cloud_init == "done"


def test_a_value_that_a_gpu_does_not_know_is_none_and_a_comma_in_a_name_no_column() -> None:
    facts = facts_of("inforom")
    first, second = facts.smi.gpus
    assert first.name == "Tesla V100-SXM2-16GB, rev A"
    assert (first.memory_total, first.memory_used) == (16384, None)
    assert (first.utilization, first.temperature) == (None, None)
    assert (second.name, second.memory_total, second.temperature) == (None, None, None)
    assert (second.memory_used, second.utilization) == (0, 0), "and a 0 is one"


def test_an_unknown_field_costs_its_own_answer_only() -> None:
    facts = facts_of("inforom")
    assert [gpu.compute for gpu in facts.smi.gpus] == [None, None]
    assert "compute_cap" not in SMI_FIELDS


@given(st.sampled_from(["N/A", "Not Supported", "Unknown Error", "GPU requires reset", "Whatever"]))
def test_whatever_stands_in_brackets_is_no_value(word: str) -> None:
    assert value(f" [{word}] ") is None


def test_the_bus_is_seen_without_lspci() -> None:
    with_it = facts_of()
    without = facts_of(lspci=Result(127, "", "sh: 1: lspci: not found\n"))
    assert without.bus == with_it.bus
    assert facts_of("no_gpu").bus == ()


def test_an_nvswitch_is_a_bridge_and_no_gpu() -> None:
    lines = (
        "0000:06:00.0 3D controller [0302]: NVIDIA Corporation GH100 [10de:2330] (rev a1)\n"
        "0000:06:00.1 Audio device [0403]: NVIDIA Corporation Device [10de:22ba] (rev a1)\n"
        "0000:0a:00.0 Bridge [0680]: NVIDIA Corporation GH100 [H100 NVSwitch] [10de:22a3]\n"
    )
    facts = facts_of(lspci=Result(0, lines))
    assert (len(facts.bus), facts.switches) == (1, 1)


@pytest.mark.parametrize(
    ("mokutil", "variable", "on"),
    [
        (Result(0, "SecureBoot enabled\n"), Result(0, " 6 0 0 0 1\n"), True),
        (Result(0, "SecureBoot disabled\n"), Result(0, " 6 0 0 0 0\n"), False),
        (Result(127, "", "mokutil: not found"), Result(0, "   6   0   0   0   1\n"), True),
        (Result(127, "", "mokutil: not found"), Result(0, "   6   0   0   0   0\n"), False),
        (Result(127, "", ""), Result(1, "", "od: /sys/...: No such file or directory"), False),
        (Result(255, "", "EFI variables are not supported on this system\n"), Result(1), False),
        (Result(127, "", ""), Result(1, "", "od: /sys/...: Permission denied"), None),
    ],
)
def test_secure_boot(mokutil: Result, variable: Result, on: bool | None) -> None:
    assert facts_of(secure_boot=mokutil, secure_boot_variable=variable).secure_boot is on


@pytest.mark.parametrize(
    ("listing", "source"),
    [
        ("installed nvidia-utils-580-server 580.95.05-0ubuntu0.24.04.2\n", "ubuntu"),
        ("installed nvidia-open 580.95.05-0ubuntu1\ninstalled cuda-keyring 1.1-1\n", "nvidia"),
        ("installed cuda-drivers 580.95.05-1\n", "nvidia"),
        ("installed nvidia-driver-libs 580.95.05-1\n", "nvidia"),
        ("config-files nvidia-utils-580-server 580.95.05-0ubuntu0.24.04.2\n", ""),
        ("installed nvidia-container-toolkit 1.18.0-1\n", ""),
        ("", ""),
    ],
)
def test_whose_packages_are_installed(listing: str, source: str) -> None:
    assert facts_of(packages=Result(1, listing, "no packages found")).source == source


def test_a_cuda_probe_that_printed_nonsense_is_not_read_as_success() -> None:
    for said in ("", "[]", "0 1", '{"count": 1}', "null"):
        assert facts_of(cuda=Result(0, said, "Segmentation fault")).cuda.code is None


def test_the_first_setup_in_its_long_form() -> None:
    facts = facts_of(cloud_init=Result(0, "\nstatus: running\ndetail: x\n"))
    assert facts.cloud_init == "running"


def test_this_host_is_probed_for_real() -> None:
    """It has no GPU, or has one; in either case every probe comes back and none is lost."""
    probes = probe(LocalRemote())
    assert {name for name, answer in probes.answers.items() if answer.exit_code is None} == set()
    facts = parse(probes)
    assert re.fullmatch(r"[0-9a-f-]{36}", facts.boot_id)
    assert facts.kernel
    assert facts.distribution
    assert facts.disk_free
    listed = [line for line in probes.text("pci").splitlines() if line]
    assert all(len(line.split()) == 4 for line in listed)
    if not facts.bus and not facts.smi.gpus:
        assert facts.cuda.code != 0


def test_a_probe_that_hangs_ends_by_itself() -> None:
    result = LocalRemote().run(bounded("sleep 600", 0.3), timeout=60)
    assert result.exit_code == 124


def test_the_cuda_probe_says_what_is_missing_where_there_is_no_library(tmp_path) -> None:
    (tmp_path / "probe.py").write_text(CUDA.replace("libcuda.so.1", "libnowhere.so.1"))
    result = LocalRemote().run(f"python3 {tmp_path}/probe.py", timeout=60)
    facts = facts_of(cuda=result)
    assert facts.cuda.code is None
    assert "libnowhere.so.1" in facts.cuda.problem
