"""Whole walks from a host as it is found to one that is ready, or is given up."""

import os
import re
import shutil
from pathlib import Path

import pytest

from cft.errors import CftError
from tasks.machine.driver.ensure import ensure_driver
from tasks.machine.driver.settings import DriverSettings
from tasks.machine.remote import LocalRemote, Result
from tests.driver_hosts import FakeClock, ScriptedHost, idle

INSTALL = DriverSettings(policy="install")
CHECK = DriverSettings()
SOUND = ("healthy",)


def test_a_sound_host_is_left_as_it_is() -> None:
    clock = FakeClock()
    host = ScriptedHost(clock, SOUND)
    report = ensure_driver(host, INSTALL, jobs_running=idle, clock=clock)
    assert (report.verdict, report.state, report.actions) == ("ready", "ok", ())
    assert (report.driver, report.cuda, report.rebooted) == ("580.95.05", "13.0", False)
    assert len(report.gpus) == 1
    assert host.done == []
    assert report.require_ready() is report


def test_from_a_bare_host_to_a_ready_one() -> None:
    clock = FakeClock()
    host = ScriptedHost(
        clock,
        ("bare",),
        becomes={"driver-install": [("nouveau",)], "reboot": [SOUND]},
    )
    report = ensure_driver(host, INSTALL, jobs_running=idle, clock=clock)
    assert host.done == ["driver-install", "driver-blacklist", "reboot"]
    assert report.verdict == "ready"
    assert report.actions == ("install the driver", "blacklist nouveau", "reboot")
    assert report.rebooted
    assert report.seconds >= 15, "it waited for the boot"
    assert host.scripts[0].startswith("set -eux\n")
    assert "linux-headers-6.8.0-60-generic" in host.scripts[0]
    assert host.commands[0][:2] == ["sudo", "-n"]


def test_root_needs_no_sudo() -> None:
    clock = FakeClock()
    host = ScriptedHost(clock, ("not_loaded",), becomes={"driver-load": [SOUND]})
    host.changes = {"user": Result(0, "0\n"), "sudo": Result(127, "", "sudo: not found")}
    assert ensure_driver(host, INSTALL, jobs_running=idle, clock=clock).actions == (
        "load the module",
    )
    assert host.commands == [["sh", "{folder}/plan.sh"]]


def test_check_touches_nothing_whatever_it_finds() -> None:
    for state in ("bare", "not_loaded", "mismatch", "nouveau", "no_devices", "cuda_999"):
        clock = FakeClock()
        host = ScriptedHost(clock, (state,))
        report = ensure_driver(host, CHECK, jobs_running=idle, clock=clock)
        assert host.done == [], state
        assert report.verdict == ("reroll" if state in ("mismatch", "no_devices") else "fail")
        with pytest.raises(CftError, match="set it to install"):
            report.require_ready()


def test_a_reboot_is_seen_through_and_mends_a_mismatch() -> None:
    clock = FakeClock()
    host = ScriptedHost(clock, ("mismatch",), becomes={"reboot": [SOUND]}, silent=20)
    report = ensure_driver(host, INSTALL, jobs_running=idle, clock=clock)
    assert (report.verdict, report.rebooted) == ("ready", True)
    assert report.seconds >= 100, "twenty times it did not answer"


@pytest.mark.parametrize("state", ["mismatch", "no_devices", "not_loaded", "nouveau", "hung"])
def test_a_host_is_rebooted_once_and_then_given_up(state: str) -> None:
    clock = FakeClock()
    host = ScriptedHost(clock, (state,))
    report = ensure_driver(host, INSTALL, jobs_running=idle, clock=clock)
    assert host.boots == 1
    assert report.verdict == "reroll"
    assert "also after a reboot" in report.reason
    with pytest.raises(CftError, match="the host is bad, take another one"):
        report.require_ready()


def test_a_host_that_does_not_come_back_is_an_error_within_its_time() -> None:
    clock = FakeClock()
    host = ScriptedHost(clock, ("mismatch",), reboots_well=False)
    with pytest.raises(CftError, match="does not answer any more within 900 s"):
        ensure_driver(host, INSTALL, jobs_running=idle, clock=clock)
    assert clock.now() < 1000 + 900 + 60


def test_a_host_that_did_not_go_down_is_not_taken_for_a_rebooted_one() -> None:
    class Stubborn(ScriptedHost):
        def run(self, command: str, *, timeout: float, stdin: bytes | None = None) -> Result:
            if "systemctl reboot" in command:
                self.done.append("reboot")
                return Result(0)
            return super().run(command, timeout=timeout, stdin=stdin)

    clock = FakeClock()
    with pytest.raises(CftError, match="did not go down within 900 s"):
        ensure_driver(Stubborn(clock, ("mismatch",)), INSTALL, jobs_running=idle, clock=clock)


@pytest.mark.parametrize("state", ["mismatch", "bare"])
def test_a_host_with_a_job_of_ours_is_neither_rebooted_nor_changed(state: str) -> None:
    clock = FakeClock()
    host = ScriptedHost(clock, (state,))
    report = ensure_driver(host, INSTALL, jobs_running=lambda: ["0f0f stage1"], clock=clock)
    assert host.done == []
    assert report.verdict == "fail"
    assert "a job of ours runs there (0f0f stage1)" in report.reason


def test_cuda_that_gets_ready_within_three_tries() -> None:
    clock = FakeClock()
    not_ready = ("cuda_802",)
    host = ScriptedHost(clock, not_ready, becomes={"wait": [not_ready, not_ready, SOUND]})
    report = ensure_driver(host, CHECK, jobs_running=idle, clock=clock)
    assert (report.verdict, report.actions) == ("ready", ("wait", "wait", "wait"))
    assert 180 <= report.seconds < 240


def test_cuda_that_does_not_get_ready_costs_three_minutes_and_no_installation() -> None:
    clock = FakeClock()
    host = ScriptedHost(clock, ("cuda_802",))
    report = ensure_driver(host, INSTALL, jobs_running=idle, clock=clock)
    assert host.done == ["wait", "wait", "wait"]
    assert (report.verdict, report.state) == ("reroll", "CUDA not ready")


def test_hardware_faults_are_given_up_at_once() -> None:
    clock = FakeClock()
    host = ScriptedHost(clock, ("off_the_bus",))
    report = ensure_driver(host, INSTALL, jobs_running=idle, clock=clock)
    assert (report.verdict, host.done) == ("reroll", [])
    assert "fallen off the bus" in report.reason


def test_an_installation_that_fails_says_what_apt_said_and_is_not_repeated() -> None:
    clock = FakeClock()
    host = ScriptedHost(clock, ("bare",), exits={"driver-install": 100})
    report = ensure_driver(host, INSTALL, jobs_running=idle, clock=clock)
    assert host.done == ["driver-install"]
    assert report.verdict == "fail"
    assert "driver-install failed with 100 (E: what apt says)" in report.reason


def test_an_installation_that_says_it_went_well_and_left_no_driver_is_found_out() -> None:
    clock = FakeClock()
    host = ScriptedHost(clock, ("bare",))
    report = ensure_driver(host, INSTALL, jobs_running=idle, clock=clock)
    assert host.done == ["driver-install"]
    assert report.verdict == "fail"
    assert "also after the installation" in report.reason


def test_the_first_setup_is_waited_for_as_it_may_install_the_driver_itself() -> None:
    clock = FakeClock()
    host = ScriptedHost(clock, ("bare",), becomes={"first set-up": [SOUND]})
    host.changes = {"cloud_init": Result(0, "status: running\n")}
    report = ensure_driver(host, CHECK, jobs_running=idle, clock=clock)
    assert (report.verdict, host.done) == ("ready", ["first set-up"])


def test_a_host_that_does_not_answer_is_an_error() -> None:
    class Dead:
        def run(self, command: str, *, timeout: float, stdin: bytes | None = None) -> Result:
            return Result(None)

    with pytest.raises(CftError, match="does not answer `uname -r`"):
        ensure_driver(Dead(), CHECK, jobs_running=idle)


def test_the_page_says_what_is_not_known_as_that() -> None:
    clock = FakeClock()
    page = ensure_driver(
        ScriptedHost(clock, ("inforom",)), CHECK, jobs_running=idle, clock=clock
    ).to_markdown()
    assert "# Driver: ok" in page
    assert "| 0 | Tesla V100-SXM2-16GB, rev A | 16384 | ? | ? | ? | ? | 00000000:06:00.0 |" in page
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in page.splitlines() if "|" in line}
    assert columns == {9}
    assert "- shared memory: 118.1 GB" in page
    failed = ensure_driver(
        ScriptedHost(clock, ("bare",)), CHECK, jobs_running=idle, clock=clock
    ).to_markdown()
    assert "- driver: none" in failed
    assert "**fail**" in failed


TOOLS = {
    "lspci": "echo '0000:06:00.0 3D controller [0302]: NVIDIA Corporation GH100 [10de:2330]'",
    "nvidia-smi": """if [ ! -e "$STATE/nvidia" ]; then
  echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."; exit 9
fi
case "$1" in *compute_cap*) echo "0, 9.0";;
*) echo "0, GPU-1, NVIDIA H100, 580.95.05, 81559, 4, 0, 31, 00000000:06:00.0";; esac""",
    # Only the question to CUDA is answered in its place.
    "python3": """case "$*" in *libcuda.so.1*)
  if [ -e "$STATE/nvidia-uvm" ]; then echo '{"code": 0, "count": 1, "version": 13000}'
  else echo '{"code": 999, "count": 0, "version": 13000}'; fi; exit 0;; esac
exec "$REAL_PYTHON" "$@\"""",
    "modinfo": "echo 580.95.05",
    "modprobe": 'touch "$STATE/$1"',
    "sudo": '[ "$1" = -n ] || exit 1\nshift\nexec "$@"',
    "mokutil": "echo 'SecureBoot disabled'",
    "cloud-init": "echo 'status: done'",
    "dmesg": "true",
    # Whatever the machine that runs this has of its own.
    "cat": """case "$1" in
/sys/module/nvidia/version) [ -e "$STATE/nvidia" ] && echo 580.95.05 && exit; exit 1;;
/proc/modules) exit 0;;
esac
exec /bin/cat "$@\"""",
    **dict.fromkeys(("systemctl", "apt-get", "dkms", "update-initramfs"), "exit 1"),
}


def test_a_module_is_loaded_by_commands_that_really_run(tmp_path: Path) -> None:
    """The host's tools are stand-ins; the shell, the step and its supervisor are not."""
    tools, state, home = tmp_path / "tools", tmp_path / "state", tmp_path / "home"
    for folder in (tools, state, home):
        folder.mkdir()
    for name, body in TOOLS.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(home),
        "STATE": str(state),
        "REAL_PYTHON": shutil.which("python3") or "",
    }
    lines: list[str] = []
    report = ensure_driver(
        LocalRemote(environment), INSTALL, jobs_running=idle, on_line=lines.append
    )
    assert (report.verdict, report.actions) == ("ready", ("load the module",)), report.reason
    assert sorted(path.name for path in state.iterdir()) == ["nvidia", "nvidia-uvm"]
    assert "+ modprobe nvidia" in lines
    (log,) = home.glob(".cft-machine/driver/steps/driver-load/train-*.log")
    assert "modprobe nvidia-uvm" in log.read_text()
