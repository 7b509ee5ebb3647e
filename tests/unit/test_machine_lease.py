"""A job's machine: until when it may run, who wants it, and the key that opens it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest

from cft.errors import CftError
from cft.home import Home
from cft.recipe import LaunchRecipe
from tasks.machine.hire import (
    give_back,
    hire_of,
    identity_of,
    lease_folder,
    public_key_of,
    rented_host,
    still_there,
    wish_for,
)
from tasks.machine.place import HERE, Allowance, BudgetSpentError, Place
from tasks.machine.provider.ledger import Entry
from tasks.machine.provider.settings import LambdaSettings, RentSettings
from tasks.machine.settings import MachineSettings
from tasks.machine.site import Site
from tasks.machine.wanted import wanted_by_lease
from tasks.machine.watcher import watching
from tests.renting import Account, rented, running


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    yield from running(tmp_path)


def entry(**changes: object) -> Entry:
    values = {
        "key": "0123456789ab", "owner": "ba9876543210", "state": "ready", "job": "run-1",
        "instance_type": "gpu_1x_a10", "region": "us-east-1", "cents_per_hour": 100,
        "max_cost": 10.0, "born": 1000, "deadline": 1000 + 20 * 3600, "ip": "10.0.0.1",
        "instance_id": "feed",
    }  # fmt: skip
    return Entry.model_validate(values | changes)


def test_warned_once_at_80_percent_and_stopped_while_the_rest_still_comes_home() -> None:
    place, now, warned = Place(entry=entry()), [1000.0], []
    look = Allowance(place, lambda: warned.append(now[0]), lambda: now[0])
    look()
    assert place.warning == 1000 + 8 * 3600
    for now[0] in (1000 + 8 * 3600 - 1, 1000 + 8 * 3600, 1000 + 9 * 3600):
        look()
    assert warned == [1000 + 8 * 3600]
    now[0] = 1000 + 10 * 3600 - 240
    with pytest.raises(BudgetSpentError, match=r"\$10.00 are nearly over.*Raise max_cost"):
        look()


def test_the_time_may_be_over_before_the_money() -> None:
    place = Place(entry=entry(deadline=1000 + 600))
    assert place.last_call == 1000 + 600 - 60, "a tenth of a short rental"
    with pytest.raises(BudgetSpentError):
        Allowance(place, lambda: None, lambda: 1000 + 541.0)()


def test_what_costs_nothing_has_no_end() -> None:
    Allowance(HERE, lambda: pytest.fail("warned"), lambda: 1e12)()
    assert (HERE.warning, HERE.last_call) == (None, None)


def test_ranks_are_those_of_the_place() -> None:
    assert HERE.ranks(LaunchRecipe(device="cpu", num_processes=3)) == 3
    assert Place(site=Site("/b", "/c", "python3", "cuda", 8)).ranks(LaunchRecipe()) == 8


def test_a_lease_is_wanted_while_its_process_lives(home: Home) -> None:
    wanted = wanted_by_lease(home, 0.0, lambda job: "over")
    assert wanted("run-1") is None, "a person's machine, or another host's"
    with watching(lease_folder(home, "run-1")):
        assert wanted("run-1") is True
    assert wanted("run-1") is False, "it was left"


DIES = """
import os, sys, time
from pathlib import Path
from tasks.machine.watcher import watching
with watching(Path(sys.argv[1])):
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("standing", "ago", "expected"),
    [
        (None, 10.0, True),
        ("going", 10.0, True),
        ("crashed", 10.0, True),
        ("over", 10.0, False),
        (None, 1000.0, False),
        ("going", 1000.0, False),
        ("crashed", 1000.0, False),
    ],
)
def test_one_whose_process_died_is_wanted_for_a_while(
    home: Home, dead: Callable[[str], None], standing, ago: float, expected: bool
) -> None:
    dead("run-1")
    wanted = wanted_by_lease(home, 600.0, lambda job: standing, lambda: time.time() + ago)
    assert wanted("run-1") is expected


def test_the_last_sign_is_what_was_mirrored_last(home: Home, dead: Callable[[str], None]) -> None:
    dead("run-1")
    events = home.runs / "run-1" / "stage1" / "events.jsonl"
    events.parent.mkdir(parents=True)
    events.write_text("")
    later = time.time() + 5000
    os.utime(events, (later, later))
    assert wanted_by_lease(home, 600.0, now=lambda: later + 599)("run-1") is True
    assert wanted_by_lease(home, 600.0, now=lambda: later + 601)("run-1") is False


@pytest.fixture
def dead(home: Home) -> Callable[[str], None]:
    def kill(job: str) -> None:
        words = [sys.executable, "-c", DIES, str(lease_folder(home, job))]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            process.kill()

    return kill


def test_a_key_of_our_own_is_made_once_and_opens_what_openssh_opens(home: Home) -> None:
    machine = MachineSettings(kind="lambda")
    path = identity_of(home, machine)
    assert path.stat().st_mode & 0o777 == 0o600
    kept = path.read_bytes()
    assert identity_of(home, machine) == path
    assert path.read_bytes() == kept
    key = paramiko.PKey.from_path(path)
    assert public_key_of(path).split()[:2] == [key.get_name(), key.get_base64()]
    made = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(path)], capture_output=True, text=True, check=True
    )
    assert made.stdout.split()[:2] == public_key_of(path).split()[:2]
    named = MachineSettings(kind="lambda", identity=str(home.path / "mine"))
    assert identity_of(home, named) == home.path / "mine"
    with pytest.raises(CftError, match=r"mine\.pub: no such file; make it with `ssh-keygen -y"):
        public_key_of(home.path / "mine")


def settings(account: Account) -> MachineSettings:
    cloud = LambdaSettings(base_url=account.cloud.url, ssh_port=2222)
    return MachineSettings(kind="lambda", cloud=cloud, rent=RentSettings(max_cost=3.0))


def test_our_key_is_registered_under_one_name(
    home: Home, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDA_API_KEY", account.cloud.key)
    account.cloud.paced = False
    machine = settings(account)
    hire = hire_of(home, machine)
    first, second = (wish_for(hire, home, machine, "run-1") for _ in range(2))
    assert first == second
    assert first.settings.max_cost == 3.0
    public = account.cloud.ssh_keys[first.ssh_key]
    assert public.split()[:2] == public_key_of(identity_of(home, machine)).split()[:2]
    account.cloud.requests.clear()  # the system's clock is not the account's


def test_another_key_is_registered_beside_the_one_before(
    home: Home, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDA_API_KEY", account.cloud.key)
    account.cloud.paced = False
    made = settings(account)
    hire, key = hire_of(home, made), home.path / "mine"
    home.path.mkdir()
    key.with_name("mine.pub").write_text("ssh-ed25519 CCCC me@here\n")
    own = made.model_copy(update={"identity": str(key)})
    first, second, again = (wish_for(hire, home, one, "run-1").ssh_key for one in (made, own, made))
    assert first == again != second
    assert account.cloud.ssh_keys[second] == "ssh-ed25519 CCCC"
    account.cloud.requests.clear()  # the system's clock is not the account's


def test_how_a_rented_machine_is_reached(home: Home, account: Account) -> None:
    machine = settings(account)
    host = rented_host(home, machine, entry(ip="10.1.2.3", port=2222))
    assert host.ssh.address == "ubuntu@10.1.2.3:2222"
    assert host.known_hosts.parent.name == "lambda-feed", "an address is used again by others"
    with pytest.raises(CftError, match="no address yet"):
        rented_host(home, machine, entry(ip=None))


def test_after_three_failures_the_provider_is_asked(account: Account) -> None:
    found = rented(account)
    ask, before = still_there(account.provider, found), len(account.cloud.requests)
    ask(1), ask(2)
    assert len(account.cloud.requests) == before
    ask(3)
    account.cloud.machines[str(found.instance_id)].ended = account.clock.now()
    account.clock.sleep(1000)
    ask(4)
    with pytest.raises(CftError, match=r"the machine is gone; what its job had saved is here"):
        ask(6)


def test_a_job_that_rented_nothing_gives_nothing_back(home: Home) -> None:
    assert give_back(home, "run-1", "cancelled", 1.0) == []


def test_a_folder_of_a_lease_that_cannot_be_read(home: Home) -> None:
    path = lease_folder(home, "run-1") / "machine.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(CftError, match=r"machine\.json: not a machine's settings"):
        give_back(home, "run-1", "cancelled", 1.0)
