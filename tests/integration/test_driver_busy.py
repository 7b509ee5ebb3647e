"""A host on which a job of ours lives is not rebooted, whoever asks; the host is behind real SSH.

Its GPU and its driver are stand-ins that say what a host says after an upgrade under a running
module, which only a reboot mends.
"""

import os
import signal
import subprocess
import uuid

import pytest

from cft.errors import CftError
from cft.recipe import LaunchRecipe
from tasks.machine import process_table, supervisor
from tasks.machine.busy import jobs_on
from tasks.machine.driver.ensure import ROOT
from tasks.machine.driver.settings import DriverSettings
from tasks.machine.environment.settings import EnvironmentSettings
from tasks.machine.hire import looks_healthy
from tasks.machine.host import own_host
from tasks.machine.remote import LocalRemote, Result
from tasks.machine.settings import MachineSettings
from tasks.machine.site import make_ready
from tests.far import RUN, far_run
from tests.processes import until
from tests.renting import entry_of
from tests.sshd import USER, Sshd, needs_sshd, running

pytestmark = [pytest.mark.integration, needs_sshd]

INSTALL = DriverSettings(policy="install", boot_seconds=3)
TOOLS = {
    "lspci": "echo '0000:06:00.0 3D controller [0302]: NVIDIA Corporation GH100 [10de:2330]'",
    "nvidia-smi": "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18",
    "modinfo": "echo 580.105.08",
    "cat": '[ "$1" = /sys/module/nvidia/version ] && echo 580.95.05 && exit\nexec /bin/cat "$@"',
    "sudo": '[ "$1" = -n ] || exit 1\nshift\nexec "$@"',
    "mokutil": "echo 'SecureBoot disabled'",
    "cloud-init": "echo 'status: done'",
    "dmesg": "true",
    "systemctl": '[ "$1" = reboot ] && touch "${0%/*}/rebooted"',
}


@pytest.fixture
def server(tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, body in TOOLS.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    path = f"SetEnv PATH={tools}:{os.environ['PATH']}"
    with running(Sshd(tmp_path / "sshd", more=(path,))) as server:
        yield server


@pytest.fixture
def far(server, tmp_path):
    with far_run(server, tmp_path) as far:
        far.start(far.lease())
        yield far


@pytest.fixture
def connection(far):
    """To the host, whose every program that could reboot it is one of ours."""
    with own_host(far.home, far.lease()).connect() as connection:
        for name in ("systemctl", "sudo"):
            found = connection.run(f"command -v {name}", timeout=30).stdout.strip()
            assert found == str(far.folder / "tools" / name)
        yield connection


def test_a_host_is_not_rebooted_while_any_process_of_a_job_lives(far, connection) -> None:
    name = f"{RUN} stage1"
    with pytest.raises(CftError, match="a job of ours runs there") as caught:
        make_ready(
            connection,
            LaunchRecipe(device="cuda"),
            INSTALL,
            EnvironmentSettings(),
            base=str(far.base),
            python="/usr/bin/python3",
        )
    assert name in str(caught.value)
    assert not (far.folder / "tools" / "rebooted").exists()
    record = supervisor.read_json(far.there / "supervisor.json")
    os.kill(record["pid"], signal.SIGKILL)
    until(lambda: process_table.start_time(record["pid"]) is None, 30)
    assert process_table.members(record["token"]), "its ranks live on"
    assert name in jobs_on(connection, str(far.base))
    process_table.end_all(lambda: process_table.members(record["token"]), 0, 5)
    assert name not in jobs_on(connection, str(far.base))


def test_the_look_into_a_rented_machine_reboots_under_no_job(far, connection) -> None:
    machine = MachineSettings(
        kind="lambda",
        user=USER,
        identity=str(far.server.client_key),
        base=str(far.base),
        driver=INSTALL,
    )
    entry = entry_of(job=RUN, state="ready", instance_id="i", ip="127.0.0.1", port=far.server.port)
    assert looks_healthy(far.home, machine, lambda line: None)(entry)
    assert not (far.folder / "tools" / "rebooted").exists()


def test_what_counts_as_a_job(tmp_path) -> None:
    here = LocalRemote(os.environ | {"HOME": str(tmp_path)})
    ours, step = uuid.uuid4().hex, uuid.uuid4().hex
    record = tmp_path / ROOT.removeprefix("~/") / "steps" / "driver-install" / "supervisor.json"
    record.parent.mkdir(parents=True)
    supervisor.write_json(record, {"token": step})
    jobs = [
        subprocess.Popen(["sleep", "60"], env=os.environ | {process_table.TOKEN: token})
        for token in (ours, step)
    ]
    try:
        found = jobs_on(here, str(tmp_path / "base"))
        assert f"process {jobs[0].pid}" in found, "of another state folder"
        assert f"process {jobs[1].pid}" not in found, "a driver's installation is attached to"
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def test_a_host_that_does_not_say_is_left_alone() -> None:
    class Deaf:
        def run(self, command: str, *, timeout: float, stdin: bytes | None = None) -> Result:
            return Result(None)

    with pytest.raises(CftError, match="neither rebooted nor changed"):
        jobs_on(Deaf(), "~/base")
