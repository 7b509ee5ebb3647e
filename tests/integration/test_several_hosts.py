"""Two hosts in networks of their own train one run together: what one host computes, or nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from cft.errors import CftError
from cft.recipe import LaunchRecipe
from cft.tracking.run_directory import RunDirectory
from cft.training.spec import TrainSpec
from tasks.machine import process_table, supervisor
from tasks.machine.host import Host
from tasks.machine.job import JobState
from tasks.machine.place import Place, at
from tasks.machine.several import mirror_of
from tasks.machine.site import Site
from tests.integration.launched import Inputs, finish, held_at_checkpoint, losses
from tests.processes import until
from tests.sshd import Sshd, needs_sshd, running

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    needs_sshd,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tmux") is None,
        reason="network namespaces are made here: run as root, with iproute2 and tmux",
    ),
]

MAIN = "10.98.76.1"  # of the first host, as the second one sees it
OPTIONS = {"max_steps": 60, "save_steps": 20}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def cable(ends: tuple[tuple[str | None, str], ...], number: int) -> None:
    """A cable between two networks (None: the one that the tests are in)."""
    names = [f"c{os.getpid() % 100_000}{number}{side}" for side in "xy"]
    ip("link", "add", names[0], "type", "veth", "peer", "name", names[1])
    for name, (network, address) in zip(names, ends, strict=True):
        inside = ["-n", network] if network else []
        if network:
            ip("link", "set", name, "netns", network)
        ip(*inside, "addr", "add", f"{address}/24", "dev", name)
        ip(*inside, "link", "set", name, "up")


@pytest.fixture(scope="module")
def networks() -> Iterator[list[str]]:
    """Two, joined by a cable, and each by another one to the network of the tests."""
    names = [f"cfth{os.getpid()}{end}" for end in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        cable(((names[0], MAIN), (names[1], "10.98.76.2")), 0)
        cable(((None, "10.98.77.254"), (names[0], "10.98.77.1")), 1)
        cable(((None, "10.98.78.254"), (names[1], "10.98.78.1")), 2)
        yield names
    finally:
        for name in names:  # and the cables that end in it
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture(scope="module")
def hosts(
    networks: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[tuple[Sshd, Path]]]:
    """An SSH server in each network, on one core, with a tmux server and a folder of its own."""
    cores = sorted(os.sched_getaffinity(0))
    found = []
    for rank, network in enumerate(networks):
        folder = tmp_path_factory.mktemp(f"host{rank}")
        core = str(cores[rank % len(cores)])
        server = Sshd(
            folder / "sshd",
            more=(f"SetEnv TMUX_TMPDIR={folder}",),
            address=f"10.98.{77 + rank}.1",
            inside=("ip", "netns", "exec", network, "taskset", "--cpu-list", core),
        )
        found.append((server, folder))
    with running(found[0][0]), running(found[1][0]):
        yield found
    for _, folder in found:
        subprocess.run(
            ["tmux", "-L", "cft", "kill-server"],
            env=os.environ | {"TMUX_TMPDIR": str(folder)}, check=False, capture_output=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def place(hosts: list[tuple[Sshd, Path]], root: Path) -> Place:
    """Both are ready: this checkout and the tests' own interpreter serve as what is made there."""
    ready = [
        (
            Host(f"host{rank}", server.settings(), folder / "known_hosts"),
            Site(str(folder), str(root), sys.executable, "cpu", 1),
        )
        for rank, (server, folder) in enumerate(hosts)
    ]
    (host, site), *others = ready
    return Place(host, site, None, 0.0, tuple(others), MAIN, 29711)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def alone(inputs: Inputs) -> RunDirectory:
    """Two ranks on one host, with a core each as well."""
    run = inputs.run("home/alone/stage1", world=2, **OPTIONS)
    assert finish(run, world=2) == 0
    return run


def test_ranks_are_those_of_all_hosts(place: Place) -> None:
    assert place.ranks(LaunchRecipe()) == 2
    assert place.ranks(LaunchRecipe(num_processes=4)) == 4
    with pytest.raises(CftError, match="3 ranks on 2 hosts"):
        place.ranks(LaunchRecipe(num_processes=3))
    assert place.host is not None
    unlike = Site("/b", "/c", "python3", "cpu", 2)
    with pytest.raises(CftError, match=r"more_hosts: the hosts differ in their GPUs \(1, 2\)"):
        Place(place.host, place.site, others=((place.host, unlike),)).ranks(LaunchRecipe())


def test_two_hosts_make_the_adapter_that_one_makes_and_one_loss_stops_both(
    place: Place, inputs: Inputs, alone: RunDirectory
) -> None:
    run, said = inputs.run("home/both/stage1", world=2, **OPTIONS), []
    spec = TrainSpec.load(run.spec)

    # The second host's share is killed in mid-training.
    with at(place, said.append) as (machine, job_of):
        handle = machine.start(job_of(run.path, spec))
        assert not handle.attached
        goes_on = held_at_checkpoint(far(place, run, 0))
        while not list(run.checkpoints.glob("checkpoint-*")):
            assert machine.poll(handle).running
        tokens = [token(place, run, rank) for rank in range(2)]
        process_table.signal_all(process_table.members(tokens[1]), 9)
        goes_on()
        state = ended(machine, handle)
        assert state.state in ("failed", "killed")
        for one in tokens:
            assert process_table.members(one) == set(), "the first failure stops all"
        assert machine.poll(handle) == state
        assert machine.stop(handle) == state
    assert any("the others are stopped" in line for line in said)
    assert list(run.checkpoints.glob("checkpoint-*")), "what it saved is here"

    # Another watcher goes on from it, on both; and a third one takes that up.
    with at(place, said.append) as (machine, job_of):
        handle = machine.start(job_of(run.path, spec))
        assert not handle.attached
    with at(place, said.append) as (machine, job_of):
        again = machine.start(job_of(run.path, spec))
        assert ended(machine, again).state == "finished"
    weights, expected = adapter(run), adapter(alone)
    assert weights.keys() == expected.keys()
    for name in weights:
        np.testing.assert_array_equal(weights[name], expected[name], err_msg=name)
    metrics = [one for one in run.read_events()[0] if one["kind"] == "metric"]
    seen = {one["step"]: one["values"].get("train/loss") for one in metrics}
    for step, loss in enumerate(losses(alone), 1):
        assert seen[step] == loss

    other = RunDirectory(mirror_of(run.path, 1))
    assert other.path.name == "stage1-host-1"
    assert list(other.path.glob("train-*.log")), "its log is here"
    assert not other.adapter.exists()
    # What is done is not done again.
    with at(place, said.append) as (machine, job_of):
        handle = machine.start(job_of(run.path, spec))
        assert handle.attached
        assert machine.poll(handle).state == "finished"
        assert machine.stop(handle).state == "finished"


def test_a_host_that_cannot_start_leaves_no_share_on_the_other(
    place: Place, inputs: Inputs, tmp_path: Path
) -> None:
    run = inputs.run("home/broken/stage1", world=2, **OPTIONS)
    (tmp_path / "file").write_text("")
    ((host, _),) = place.others
    bad = Site(str(tmp_path / "file"), place.site.code, sys.executable, "cpu", 1)
    broken = Place(place.host, place.site, None, 0.0, ((host, bad),), MAIN, 29712)
    with at(broken, lambda line: None) as (machine, job_of), pytest.raises(CftError):
        machine.start(job_of(run.path, TrainSpec.load(run.spec)))
    record = Path(place.site.base, "runs", "broken", "stage1", "supervisor.json")
    until(lambda: not process_table.members(supervisor.read_json(record).get("token", "none")), 30)


def far(place: Place, run: RunDirectory, rank: int) -> RunDirectory:
    site = [place.site, *(site for _, site in place.others)][rank]
    return RunDirectory(
        Path(site.base, "runs", run.path.parent.name, mirror_of(run.path, rank).name)
    )


def token(place: Place, run: RunDirectory, rank: int) -> str:
    return str(supervisor.read_json(far(place, run, rank).path / "supervisor.json")["token"])


def adapter(run: RunDirectory) -> dict[str, np.ndarray]:
    return load_file(run.adapter / "adapter_model.safetensors")


def ended(machine, handle) -> JobState:
    def state() -> JobState | None:
        found = machine.poll(handle)
        return None if found.running else found

    return until(state, 300)
