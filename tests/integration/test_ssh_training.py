"""Training on a host behind SSH gives the adapter that training here gives, whatever breaks."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from cft.errors import CftError
from cft.recipe import LaunchRecipe
from cft.tracking.run_directory import RunDirectory
from cft.training.spec import TrainSpec
from tasks.machine import process_table
from tasks.machine.driver.settings import DriverSettings
from tasks.machine.environment.settings import EnvironmentSettings
from tasks.machine.site import Site, make_ready, put, training_job
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.ssh_machine import SshMachine
from tests.integration.launched import Inputs, finish, held_at_checkpoint, losses
from tests.processes import until
from tests.sshd import Sshd, Wire, needs_sshd, running

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200), needs_sshd]

CPU = LaunchRecipe(device="cpu", num_processes=1)
# Long enough to be held after the first checkpoint and before the end.
OPTIONS = {"max_steps": 150, "save_steps": 25}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return Inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def undisturbed(inputs):
    run = inputs.run("home/undisturbed/stage1", world=1, **OPTIONS)
    assert finish(run, world=1) == 0
    return run


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("far")


@pytest.fixture
def there(server, tmp_path):
    with Connection(server.settings(), KnownHosts(tmp_path / "hosts")) as connection:
        yield connection


def ready(connection: Connection, base: Path, launch: LaunchRecipe = CPU) -> Site:
    """The interpreter of the tests serves as the host's environment."""
    return make_ready(
        connection, launch, DriverSettings(), EnvironmentSettings(),
        base=str(base), python=sys.executable,
    )  # fmt: skip


def to_the_end(machine, handle):
    def ended():
        state = machine.poll(handle)
        return None if state.running else state

    return until(ended, 600)


def equal(run: RunDirectory, other: RunDirectory) -> None:
    one, two = (load_file(where.adapter / "adapter_model.safetensors") for where in (run, other))
    assert set(one) == set(two)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_the_same_adapter_from_inputs_that_are_sent_once(
    server, inputs, undisturbed, base, tmp_path
) -> None:
    run, wire = inputs.run("home/first/stage1", world=1, **OPTIONS), Wire(server.port)
    hosts = KnownHosts(tmp_path / "hosts")
    with Connection(server.settings(port=wire.port), hosts) as there:
        site = ready(there, base)
        assert (site.device, site.ranks(CPU)) == ("cpu", 1)
        assert site.ranks(LaunchRecipe()) == min(2, site.accelerators)
        machine = SshMachine(there, site.base)
        job = training_job(machine, site, run.path, TrainSpec.load(run.spec))
        spec = TrainSpec.model_validate_json(job.files["spec.json"])
        assert Path(spec.backbone).is_relative_to(base)
        assert Path(spec.store).is_relative_to(base)
        assert to_the_end(machine, machine.start(job)).state == "finished"
        equal(run, undisturbed)
        np.testing.assert_array_equal(losses(run), losses(undisturbed))
        # Code and inputs of a second job are there already.
        wire.carried = 0
        again = inputs.run("home/second/stage1", world=1, **OPTIONS)
        training_job(machine, ready(there, base), again.path, TrainSpec.load(again.spec))
        assert wire.carried < 50_000
    wire.close()


def test_the_same_adapter_after_everything_that_can_die_has_died(
    server, inputs, undisturbed, base, tmp_path
) -> None:
    run = inputs.run("home/disturbed/stage1", world=1, **OPTIONS)
    hosts, said = KnownHosts(tmp_path / "hosts"), []
    with Connection(server.settings(), hosts) as there:
        site = ready(there, base)
        machine = SshMachine(there, site.base, checkpoint_seconds=0, say=said.append)
        job = training_job(machine, site, run.path, TrainSpec.load(run.spec))
        handle = machine.start(job)
        held_at_checkpoint(RunDirectory(base / "runs" / "disturbed" / "stage1"))
        while len(run.read_events()[0]) < 3:
            assert machine.poll(handle).running
        server.kill_sessions()
    # The watcher is gone as well; a new one finds the job alive.
    with Connection(server.settings(), hosts) as there:
        machine = SshMachine(there, site.base, checkpoint_seconds=0, say=said.append)
        handle = machine.start(job)
        assert handle.attached
        while not list(run.checkpoints.glob("checkpoint-*")):
            assert machine.poll(handle).running
        # The host loses power, and its disk with it: another one goes on from what came home.
        process_table.signal_all({handle.pid}, 9)
        process_table.end_all(lambda: process_table.members(handle.token), 0, 10)
        assert to_the_end(machine, handle).state == "killed"
        shutil.rmtree(base / "runs" / "disturbed")
        handle = machine.start(job)
        assert not handle.attached
        assert to_the_end(machine, handle).state == "finished"
    equal(run, undisturbed)


def test_a_job_whose_input_is_refused_says_so(server, inputs, base, there) -> None:
    run = inputs.run("home/refused/stage1", world=1, **OPTIONS)
    spec = TrainSpec.load(run.spec)
    site = ready(there, base)
    machine = SshMachine(there, site.base)
    job = training_job(machine, site, run.path, spec.model_copy(update={"world_size": 0}))
    assert to_the_end(machine, machine.start(job)).state == "failed"
    status = run.read_status()
    assert status["job_exit_code"] == 2
    assert "world_size" in status["error"]


def test_hosts_that_are_not_ready(there, base, tmp_path) -> None:
    with pytest.raises(CftError, match="driver: "):
        ready(there, base, LaunchRecipe(device="cuda"))
    (tmp_path / "file").write_text("")
    with pytest.raises(CftError, match="cannot be made there"):
        ready(there, tmp_path / "file")
    site = Site("/x", "/x", "python3", "cuda", 2)
    with pytest.raises(CftError, match="4 ranks on 2 GPUs"):
        site.ranks(LaunchRecipe(num_processes=4))


def test_inputs_are_named_by_their_content(there, base, tmp_path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "rows").write_text("1")
    first = put(there, str(base), tmp_path / "store")
    assert put(there, str(base), tmp_path / "store") == first
    (tmp_path / "store" / "rows").write_text("2")
    second = put(there, str(base), tmp_path / "store")
    assert second != first
    assert [Path(one, "rows").read_text() for one in (first, second)] == ["1", "2"]
    # What was cut off in the middle is sent again.
    Path(f"{second}.whole").unlink()
    Path(second, "rows").write_text("?")
    assert put(there, str(base), tmp_path / "store") == second
    assert Path(second, "rows").read_text() == "2"
