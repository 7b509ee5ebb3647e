"""Naming a machine in one word, one file or one form."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from cft.errors import CftError
from deployments.cli.machine import taken_machine
from tasks.machine.settings import MachineSettings, machine_from


@pytest.mark.parametrize("word", ["local", "lambda"])
def test_a_kind_by_its_name(word: str) -> None:
    assert machine_from(word) == MachineSettings(kind=word)


@pytest.mark.parametrize(
    ("word", "host", "port"),
    [("me@gpu-box", "gpu-box", 22), ("me@10.0.0.7:2222", "10.0.0.7", 2222)],
)
def test_a_host_as_ssh_writes_it(word: str, host: str, port: int) -> None:
    machine = machine_from(word)
    assert machine.kind == "ssh"
    assert machine.ssh is not None
    assert (machine.ssh.user, machine.ssh.host, machine.ssh.port) == ("me", host, port)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "box.yaml"
    path.write_text(
        "kind: ssh\nssh: {host: gpu-box, user: me, identity: ~/.ssh/box}\n"
        "driver: {policy: install}\npython: /opt/venv/bin/python\n"
    )
    machine = machine_from(str(path))
    assert machine.ssh is not None
    assert machine.ssh.identity == Path("~/.ssh/box")
    assert (machine.driver.policy, machine.python) == ("install", "/opt/venv/bin/python")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: ssh\n", "kind ssh needs the host: set ssh.host and ssh.user"),
        ("kind: ssh\nssh: {host: x}\n", "ssh.user"),
        ("knid: ssh\n", "knid"),
        ("rent: {max_cost: 0}\n", "rent.max_cost"),
        ("more_hosts: [{host: a, user: b}]\n", "only kind ssh takes several hosts"),
        ("- local\n", "a machine is a mapping"),
        ("kind: [\n", "not valid YAML"),
    ],
)
def test_a_file_that_will_not_do_names_the_field(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "box.yaml"
    path.write_text(text)
    with pytest.raises(CftError) as error:
        machine_from(str(path))
    assert str(path) in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize("word", ["", "gpu-box", "@box", "me@", "nothing.yaml"])
def test_anything_else_says_what_there_is(word: str) -> None:
    with pytest.raises(CftError, match=r"neither local, lambda, USER@HOST\[:PORT\] nor a YAML"):
        machine_from(word)


def test_a_port_that_is_none() -> None:
    with pytest.raises(CftError, match="me@box:ssh: port"):
        machine_from("me@box:ssh")


def test_ssh_without_a_host_is_refused_by_the_form() -> None:
    with pytest.raises(ValidationError, match="needs the host"):
        MachineSettings(kind="ssh")


def test_caps_from_flags() -> None:
    none = dict.fromkeys(("max_price_per_hour", "max_cost", "max_duration_hours", "instance_types"))
    flags = {f"machine_{name}": value for name, value in none.items()}
    flags |= {"machine_word": "lambda", "other": 1}
    given = flags | {"machine_max_cost": 10.0, "machine_instance_types": "gpu_1x_h100_pcie, b"}
    machine = taken_machine(given)
    assert machine.rent.max_cost == 10.0
    assert machine.rent.instance_types == ("gpu_1x_h100_pcie", "b")
    assert given == {"other": 1}
    assert taken_machine(dict(flags)) == MachineSettings(kind="lambda")
    with pytest.raises(CftError, match=r"--machine: rent\.max_cost"):
        taken_machine(flags | {"machine_max_cost": -1.0})
