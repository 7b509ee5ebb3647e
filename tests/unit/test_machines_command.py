"""``cft machines`` against the contract server: looks by default, acts when it is told to."""

import json
import tomllib

import pytest
from click.testing import CliRunner

from cft.errors import CftError
from cft.home import Home
from deployments.cli import machines_command
from tasks.machine.provider.ledger import ledger_of
from tests.lambda_account import A10, GH200, KEY, Machine
from tests.lambda_server import serve_lambda
from tests.renting import Account
from tests.sweeping import ready


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    with serve_lambda() as cloud:
        monkeypatch.setenv("CFT_HOME", str(tmp_path))
        monkeypatch.setenv("LAMBDA_API_KEY", KEY)
        monkeypatch.setattr("tasks.machine.provider.clock.SystemRentalClock", lambda: cloud.clock)
        yield cloud


@pytest.fixture
def account(cloud, tmp_path):
    account = Account(cloud, tmp_path)
    account.ledger = ledger_of(Home(tmp_path))
    return account


def machines(cloud, *words, code=0):
    done = CliRunner().invoke(machines_command, [*words, "--base-url", cloud.url])
    assert done.exit_code == code, (done.output, done.exception)
    assert KEY not in done.output
    return done.output


def test_offers_by_price_and_what_is_sold_out_last(cloud) -> None:
    lines = machines(cloud, "offers").splitlines()
    assert lines[0].split() == ["type", "$/h", "GPUs", "region"]
    assert lines[1].split()[:2] == [A10, "0.75"]
    assert lines[-1].split()[0] == GH200
    assert lines[-1].endswith("(sold out)")
    told = json.loads(machines(cloud, "offers", "--json"))
    assert [one["cents_per_hour"] for one in told if one["region"]] == sorted(
        one["cents_per_hour"] for one in told if one["region"]
    )


def test_list_and_sweep_look_and_only_yes_ends(cloud, account) -> None:
    assert "There are none." in machines(cloud, "list")
    wanted = ready(account, "run-1")
    late = ready(account, "run-2", max_duration_hours=1.0)
    cloud.clock.sleep(2 * 3600)
    for words in (["list"], ["sweep"]):
        shown = machines(cloud, *words)
        assert f"| {wanted.instance_id} |" in shown
        assert "what a sweep would do" in shown
        assert len(cloud.living) == 2
    rows = json.loads(machines(cloud, "list", "--json"))["rows"]
    assert {row["job"]: row["verdict"] for row in rows} == {"run-1": "keep", "run-2": "end"}
    assert "what a sweep did" in machines(cloud, "sweep", "--yes")
    assert [one.id for one in cloud.living] == [wanted.instance_id]
    entry = account.ledger.read(late.key)
    assert entry is not None
    assert entry.state == "released"


def test_a_machine_that_stays_is_an_error_with_the_place_to_end_it(cloud, account) -> None:
    late = ready(account, "run-1", max_duration_hours=1.0)
    cloud.clock.sleep(2 * 3600)
    cloud.ending = 10**9
    shown = machines(cloud, "sweep", "--yes", code=1)
    assert f"error: {late.instance_id} is still there" in shown
    assert "https://" in shown


def test_machines_of_others_are_shown_and_left(cloud) -> None:
    cloud.machines["theirs"] = Machine(
        "theirs", "my notebook", A10, "us-east-1", 75, [], born=cloud.clock.now(), fate="ok"
    )
    assert "my notebook" in machines(cloud, "sweep", "--yes")
    assert [one.id for one in cloud.living] == ["theirs"]


def test_without_a_key_it_says_which(cloud, monkeypatch) -> None:
    monkeypatch.delenv("LAMBDA_API_KEY")
    done = CliRunner().invoke(machines_command, ["list", "--base-url", cloud.url])
    assert isinstance(done.exception, CftError)
    assert str(done.exception).startswith("LAMBDA_API_KEY: not set")
    assert cloud.requests == []


def test_the_project_declares_it(root) -> None:
    points = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    assert points["cft.commands"]["machines"] == "deployments.cli:machines_command"
