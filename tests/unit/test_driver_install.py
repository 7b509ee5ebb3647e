"""The plans: which package for which system and GPU, and in what order."""

import os
import subprocess
from pathlib import Path

import pytest

from tasks.machine.driver.install import (
    APT,
    NoPlanError,
    Plan,
    blacklist_plan,
    install_plan,
    is_open,
    load_plan,
)
from tasks.machine.driver.settings import DriverSettings
from tasks.machine.remote import Result
from tests.driver_hosts import facts_of

SETTINGS = DriverSettings(policy="install")


def gpu(device: str, *more: str) -> Result:
    lines = [
        f"0000:0{place}:00.0 3D controller [0302]: NVIDIA Corporation X [10de:{one}] (rev a1)\n"
        for place, one in enumerate([device, *more])
    ]
    return Result(0, "".join(lines))


SWITCH = "0000:0a:00.0 Bridge [0680]: NVIDIA Corporation GH100 [10de:22a3] (rev a1)\n"


def system(name: str, version: str) -> Result:
    return Result(0, f'ID={name}\nVERSION_ID="{version}"\n')


def installed(plan: Plan) -> list[str]:
    """Packages in the order in which apt is asked for them."""
    words = [
        line.removeprefix(f"{APT} install -y ").split()
        for line in plan.commands
        if line.startswith(f"{APT} install")
    ]
    return [word for line in words for word in line]


@pytest.mark.parametrize(
    ("device", "generation", "opened"),
    [
        ("1380", "Maxwell", False),
        ("15f8", "Pascal", False),
        ("1b06", "Pascal", False),
        ("1db1", "Volta", False),
        ("1df6", "Volta", False),
        ("1e04", "Turing", True),
        ("1eb8", "Turing", True),
        ("20b2", "Ampere", True),
        ("2684", "Ada", True),
        ("2330", "Hopper", True),
        ("2342", "Grace-Hopper", True),
        ("2901", "Blackwell", True),
        ("2bb1", "Blackwell", True),
    ],
)
def test_the_kind_of_module_of_each_generation(device, generation, opened) -> None:
    facts = facts_of("bare", lspci=gpu(device))
    assert is_open(facts) is opened, generation
    packages = installed(install_plan(facts, SETTINGS))
    assert ("nvidia-driver-580-server-open" in packages) is opened
    assert ("nvidia-driver-580-server" in packages) is not opened


def test_the_oldest_gpu_of_a_host_decides() -> None:
    assert not is_open(facts_of("bare", lspci=gpu("2330", "1db1")))


def test_a_gpu_before_maxwell_has_no_driver() -> None:
    with pytest.raises(NoPlanError, match="0x102d is older than Maxwell"):
        install_plan(facts_of("bare", lspci=gpu("102d")), SETTINGS)


def test_an_old_gpu_gets_the_last_branch_that_knows_it() -> None:
    newer = DriverSettings(policy="install", branch=595)
    assert "nvidia-driver-595-server-open" in installed(install_plan(facts_of("bare"), newer))
    old = installed(install_plan(facts_of("bare", lspci=gpu("1db1")), newer))
    assert "nvidia-driver-580-server" in old


def test_ubuntu_headers_come_before_the_driver() -> None:
    packages = installed(install_plan(facts_of("bare"), SETTINGS))
    assert packages == [
        "build-essential",
        "dkms",
        "linux-headers-6.8.0-60-generic",
        "nvidia-driver-580-server-open",
        "nvidia-dkms-580-server-open",
        "nvidia-utils-580-server",
    ]


def test_the_module_of_the_running_kernel_is_the_proof_and_not_the_exit_code_of_apt() -> None:
    commands = install_plan(facts_of("no_module"), SETTINGS).commands
    assert commands[-2:] == (
        "modinfo -k 6.8.0-71-generic -F version nvidia",
        "command -v nvidia-smi",
    )
    assert "dkms autoinstall -k 6.8.0-71-generic" in commands


def test_debian_is_served_from_the_repository_of_nvidia() -> None:
    debian = system("debian", "12")
    plan = install_plan(facts_of("bare", release=debian), SETTINGS)
    assert any("/debian12/x86_64/cuda-keyring" in command for command in plan.commands)
    assert installed(plan)[-1] == "nvidia-open-580"
    old = facts_of("bare", release=debian, lspci=gpu("1b06"))
    assert installed(install_plan(old, SETTINGS))[-1] == "cuda-drivers-580"


def test_the_two_sources_never_mix() -> None:
    listing = Result(1, "installed cuda-keyring 1.1-1\ninstalled nvidia-open 580.95.05-1\n")
    from_nvidia = install_plan(facts_of("no_module", packages=listing), SETTINGS)
    assert "nvidia-open-580" in installed(from_nvidia)
    assert not any("-server" in package for package in installed(from_nvidia))
    from_ubuntu = install_plan(facts_of("no_module"), SETTINGS)
    assert not any("keyring" in command for command in from_ubuntu.commands)
    arm = facts_of("no_module", packages=listing, machine=Result(0, "aarch64\n"))
    assert any("ubuntu2404/sbsa" in command for command in install_plan(arm, SETTINGS).commands)


@pytest.mark.parametrize(
    ("name", "version", "machine"),
    [("debian", "12", "aarch64"), ("ubuntu", "20.04", "x86_64"), ("fedora", "43", "x86_64")],
)
def test_a_system_without_a_plan_is_named(name: str, version: str, machine: str) -> None:
    facts = facts_of("bare", release=system(name, version), machine=Result(0, machine))
    with pytest.raises(NoPlanError, match=f"no plan for {name} {version} on {machine}"):
        install_plan(facts, SETTINGS)


def plans() -> list[Plan]:
    eight = facts_of("bare", lspci=Result(0, gpu("2330").stdout + SWITCH))
    debian = facts_of(
        "bare", release=system("debian", "12"), lspci=Result(0, gpu("2330").stdout + SWITCH)
    )
    return [
        install_plan(eight, SETTINGS),
        install_plan(debian, SETTINGS),
        load_plan(eight),
        blacklist_plan(),
    ]


def test_no_plan_hides_a_failure_or_waits_for_a_keyboard() -> None:
    for plan in plans():
        assert "|| true" not in plan.script
        for command in plan.commands:
            if "apt-get" in command:
                assert "DEBIAN_FRONTEND=noninteractive" in command
                assert "DPkg::Lock::Timeout=600" in command
                assert " -y " in command or command.endswith(" update")


def test_every_plan_is_shell(tmp_path: Path) -> None:
    for plan in plans():
        script = tmp_path / "plan.sh"
        script.write_text(plan.script)
        checked = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


def test_upgrades_are_held_for_good_or_until_the_next_boot() -> None:
    first = install_plan(facts_of("bare"), SETTINGS).commands[0]
    assert "systemctl mask unattended-upgrades.service" in first
    until_boot = DriverSettings(policy="install", hold_upgrades=False)
    first = install_plan(facts_of("bare"), until_boot).commands[0]
    assert "systemctl mask --runtime unattended-upgrades.service" in first


def test_a_unit_that_does_not_exist_ends_no_plan(tmp_path: Path) -> None:
    tool = tmp_path / "systemctl"
    tool.write_text(
        '#!/bin/sh\necho "$@" >> "$0.log"\n[ "$1" != cat ] || [ "$2" != apt-daily.timer ]\n'
    )
    tool.chmod(0o755)
    held = Plan("held", install_plan(facts_of("bare"), SETTINGS).commands[:3])
    script = tmp_path / "plan.sh"
    script.write_text(held.script)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", str(script)], env=environment, check=True, capture_output=True)
    said = (tmp_path / "systemctl.log").read_text()
    assert "mask unattended-upgrades.service" in said
    assert "mask apt-daily-upgrade.timer" in said
    assert "mask apt-daily.timer" not in said


def test_the_fabric_manager_is_of_exactly_the_drivers_version(tmp_path: Path) -> None:
    eight = facts_of("bare", lspci=Result(0, gpu("2330").stdout + SWITCH))
    commands = install_plan(eight, SETTINGS).commands
    begin = next(i for i, command in enumerate(commands) if command.startswith("driver="))
    tools = {
        "dpkg-query": "printf '580.95.05-0ubuntu0.24.04.2'",
        "apt-cache": "cat <<'END'\n"
        "nvidia-fabricmanager-580 | 580.105.08-0ubuntu0.24.04.1 | http://x noble/main\n"
        "nvidia-fabricmanager-580 | 580.95.05-0ubuntu0.24.04.1 | http://x noble/main\n"
        "nvidia-fabricmanager-580 | 580.65.06-0ubuntu0.24.04.1 | http://x noble/main\nEND",
        "apt-get": 'echo "$@"',
        "systemctl": 'echo "$@"',
    }
    for name, body in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "plan.sh"
    script.write_text(Plan("fabric", commands[begin : begin + 4]).script)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "nvidia-fabricmanager-580=580.95.05-0ubuntu0.24.04.1" in said.stdout
    assert "enable nvidia-fabricmanager" in said.stdout
    assert not any("fabric" in one for one in install_plan(facts_of("bare"), SETTINGS).commands)
    assert "systemctl restart nvidia-fabricmanager" in load_plan(eight).commands
