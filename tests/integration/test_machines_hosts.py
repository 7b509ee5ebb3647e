"""``cft machines up``, ``down`` and ``doctor`` with a real SSH server and the contract server."""

import json
import shlex
import shutil
import sys

import pytest
import yaml

from cft.home import Home
from tasks.machine.hire import identity_of
from tasks.machine.provider.ledger import ledger_of
from tasks.machine.settings import MachineSettings, machine_from
from tests.far import RUN, far_run
from tests.lambda_account import A10, KEY
from tests.lambda_server import serve_lambda
from tests.machines_command import machines, ran, refused
from tests.sshd import USER, Sshd, fingerprint, needs_sshd, public, running

pytestmark = [
    pytest.mark.integration,
    needs_sshd,
    pytest.mark.skipif(
        shutil.which("tmux") is None or shutil.which("ssh") is None, reason="no tmux or ssh here"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@pytest.fixture
def far(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CFT_HOME", str(tmp_path / "home"))
    with far_run(server, tmp_path) as far:
        yield far


def diagnosis(*words, code=0):
    told = json.loads(machines("doctor", "--machine", *words, "--json", code=code).stdout)
    assert told["well"] is (code == 0)
    return {one["name"]: one for one in told["findings"]}


def file_of(far, **changes) -> str:
    """A machine's settings as a person would write them."""
    ssh = far.server.settings().model_dump(mode="json")
    values = {"kind": "ssh", "ssh": ssh, "base": str(far.base), "python": sys.executable}
    path = far.folder / "machine.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return str(path)


def test_up_lets_in_and_down_leaves_nothing(server, tmp_path, monkeypatch) -> None:
    home = Home(tmp_path / "home")
    monkeypatch.setenv("CFT_HOME", str(home.path))
    monkeypatch.setenv("LAMBDA_API_KEY", KEY)
    ours = identity_of(home, MachineSettings())
    with server.authorized.open("a") as file:
        file.write(public(ours) + "\n")
    with serve_lambda() as cloud:
        monkeypatch.setattr("tasks.machine.hire.SystemRentalClock", lambda: cloud.clock)
        settings = tmp_path / "rented.yaml"
        settings.write_text(
            yaml.safe_dump(
                {
                    "kind": "lambda",
                    "user": USER,
                    "base": str(tmp_path / "far"),
                    "python": sys.executable,
                    "cloud": {"base_url": cloud.url, "ssh_port": server.port},
                }
            )
        )
        words = ["up", "--machine", str(settings), "--instance-types", A10, "--yes"]
        done = machines(*words, "--max-cost", "3", "--max-duration-hours", "2")
        assert KEY not in done.output
        (living,) = cloud.living
        told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[-8:])
        (entry,) = ledger_of(home).entries().readable
        assert (told["key"], entry.job, entry.instance_id) == (entry.key, "", living.id)
        assert told["instance"] == f"{living.id}, {A10} in us-east-1"
        assert told["price"] == "$0.75/h, at most $3.00"
        assert list(cloud.ssh_keys.values())[-1].split()[:2] == public(ours).split()

        login = shlex.split(told["log"].removeprefix("in").strip())
        assert str(ours) in login
        logged_in = ran([login[0], "-o", "BatchMode=yes", *login[1:], "echo in as $(id -un)"])
        assert logged_in.stdout == f"in as {USER}\n", logged_in.stderr

        found = diagnosis(entry.key)
        assert found["host key"]["text"].startswith(fingerprint(server.host_keys[0]))
        assert "as it was before" in found["host key"]["text"]
        assert not (tmp_path / "far").exists(), "a doctor changes nothing"
        # As a host of one's own: with our key, and with the machine's own pinned.
        word, own = told["train"].split()
        assert word == "--machine"
        assert "it is the pinned one" in diagnosis(own)["host key"]["text"]
        assert machine_from(own).base == str(tmp_path / "far")

        assert f"{entry.key}: gone, after $" in machines("down", entry.key, "--yes").output
        assert cloud.living == []
        assert "is given back" in refused("doctor", "--machine", entry.key)
        assert not cloud.too_fast()


def test_the_doctor_of_a_host(far) -> None:
    found = diagnosis(file_of(far))
    assert {name for name, one in found.items() if one["state"] == "bad"} == set()
    key = fingerprint(far.server.host_keys[0])
    assert found["host key"]["state"] == "note"
    assert f"{key} (ssh-ed25519), seen for the first time" in found["host key"]["text"]
    assert not list(far.home.path.rglob("known_hosts")), "a look is no word of trust"
    assert found["host"]["text"].startswith(f"{USER} on ")
    assert found["clock"]["state"] == "well"
    assert found["tmux"]["state"] == "well"
    assert "not yet there" in found["our folder"]["text"]
    assert not far.base.exists()
    assert found["jobs"]["text"] == "none of ours lives there"

    far.start(far.lease())
    assert found != (found := diagnosis(file_of(far), "--no-gpu"))
    assert found["jobs"]["text"] == f"{RUN} stage1 (running)"
    assert found["host key"]["state"] == "well"
    assert "driver" not in found


def test_the_doctor_says_what_would_keep_a_training_from_running(far) -> None:
    path = file_of(far, python="/nowhere/python")
    found = diagnosis(path, "--no-gpu", code=1)
    assert found["environment"]["state"] == "bad"
    assert found["environment"]["mend"] == "python: name an interpreter that is there"
    shown = machines("doctor", "--machine", path, "--no-gpu", code=1).output
    assert "a training would not run there" in shown
    found = diagnosis(file_of(far, python=None, environment={"min_free_gb": 1000}), "--no-gpu",
                      code=1)  # fmt: skip
    assert "free some space: 1000 GB" in found["environment"]["mend"]
    strange = far.server.settings(identity=far.server.host_keys[0]).model_dump(mode="json")
    found = diagnosis(file_of(far, ssh=strange), code=1)
    assert found.keys() == {"connection"}
    assert "refused" in found["connection"]["text"]
    assert "neither local, lambda" in refused("doctor", "--machine", "nonsense")
    assert "is no machine yet" in refused("doctor", "--machine", "lambda")
    assert "no machine of the ledger" in refused("doctor", "--machine", "0123456789ab")


def test_the_doctor_of_this_machine(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CFT_HOME", str(tmp_path / "home"))
    found = diagnosis("local", "--no-gpu")
    assert set(found) == {"environment", "disk", "jobs"}
    assert not (tmp_path / "home").exists()
