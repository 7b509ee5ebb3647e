"""``cft machines up`` and ``down`` against the contract server: what is asked, refused and left."""

import os
import signal

import pytest
from click.testing import CliRunner

from cft.errors import CftError
from cft.home import Home
from deployments.cli import machines_command
from tasks.machine.hire import lease_folder
from tasks.machine.provider.ledger import ledger_of
from tasks.machine.watcher import watching
from tests.lambda_account import A10, GH200, H100, KEY, Machine
from tests.lambda_server import serve_lambda
from tests.renting import Account
from tests.sweeping import ready


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    with serve_lambda() as cloud:
        monkeypatch.setenv("CFT_HOME", str(tmp_path))
        monkeypatch.setenv("LAMBDA_API_KEY", KEY)
        monkeypatch.setattr("tasks.machine.hire.SystemRentalClock", lambda: cloud.clock)
        yield cloud
        assert not (fast := cloud.too_fast()), fast


@pytest.fixture
def account(cloud, tmp_path):
    account = Account(cloud, tmp_path)
    account.ledger = ledger_of(Home(tmp_path))
    return account


def machines(cloud, *words, code=0, typed=None):
    done = CliRunner().invoke(machines_command, [*words, "--base-url", cloud.url], input=typed)
    assert done.exit_code == code, (done.output, done.exception)
    assert KEY not in done.output
    return done.output


def refused(cloud, *words) -> str:
    done = CliRunner().invoke(machines_command, [*words, "--base-url", cloud.url])
    assert isinstance(done.exception, CftError), (done.output, done.exception)
    return str(done.exception)


def test_up_shows_what_it_would_rent_and_asks(cloud) -> None:
    words = ("up", "--instance-types", f"{H100},{A10}", "--max-cost", "7.5")
    shown = machines(cloud, *words, code=1, typed="n\n")
    assert shown.index(f"{H100} in us-west-3 at $2.49/h") < shown.index(f"{A10} in us-east-1")
    assert "Caps: $5.00/h, $7.50 and 8 h in all.\n" in shown
    assert "Nothing here is known to end it at its caps: no Prefect server is configured" in shown
    (line,) = [one.strip() for one in shown.splitlines() if "*/10 * * * *" in one]
    assert line.endswith(f"/cft machines sweep --yes --base-url {cloud.url}")
    assert f"CFT_HOME={os.environ['CFT_HOME']} LAMBDA_API_KEY=... " in line
    assert "Rent one? [y/N]" in shown
    assert cloud.launches() == []


def test_up_says_what_cannot_be_had(cloud) -> None:
    assert "sold out at the moment" in machines(
        cloud, "up", "--instance-types", GH200, code=1, typed="n\n"
    )
    assert refused(cloud, "up", "--max-price-per-hour", "0.1").startswith("max_price_per_hour: ")
    assert "has no gpu_9x" in refused(cloud, "up", "--instance-types", "gpu_9x")
    assert "of kind local" in refused(cloud, "up", "--machine", "local")
    assert cloud.launches() == []


def interrupting(cloud, monkeypatch, *presses):
    """Act in the first waits after there is a machine."""
    sleep, left = cloud.clock.sleep, list(presses)

    def pressing(seconds):
        if cloud.living and left:
            left.pop(0)()
        sleep(seconds)

    monkeypatch.setattr(cloud.clock, "sleep", pressing)


def ctrl_c():
    raise KeyboardInterrupt


def close_terminal():
    os.kill(os.getpid(), signal.SIGHUP)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("press", [ctrl_c, close_terminal, terminate])
def test_ctrl_c_and_the_like_while_it_boots_give_it_back(
    cloud, account, monkeypatch, press
) -> None:
    interrupting(cloud, monkeypatch, press)
    before = signal.getsignal(signal.SIGTERM)
    shown = machines(cloud, "up", "--yes", "--instance-types", A10, code=130)
    assert "Ctrl-C while it boots gives it back" in shown
    assert "interrupted; nothing is rented" in shown
    assert len(cloud.launches()) == 1
    assert cloud.living == []
    assert account.states == ["released"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_whoever_does_not_wait_for_that_either_is_told_the_key(cloud, account, monkeypatch) -> None:
    interrupting(cloud, monkeypatch, ctrl_c, ctrl_c)
    shown = machines(cloud, "up", "--yes", "--instance-types", A10, code=130)
    (entry,) = account.entries
    assert f"cft machines down {entry.key}" in shown
    assert len(cloud.living) == 1
    machines(cloud, "down", entry.key, "--yes")
    assert cloud.living == []


def test_down_by_key_and_by_id_waits_until_they_are_gone(cloud, account) -> None:
    one, two, other = (ready(account, job) for job in ("run-1", "run-2", "run-3"))
    shown = machines(cloud, "down", one.key, str(two.instance_id), code=1, typed="n\n")
    assert "Give back? [y/N]" in shown
    assert f"{one.key}: {one.instance_id}, {A10} at $0.75/h, since 2027-01-15" in shown
    assert "for the run run-1" in shown
    assert len(cloud.living) == 3
    shown = machines(cloud, "down", one.key, str(two.instance_id), "--yes")
    assert f"{one.key}: gone, after $" in shown
    assert [living.id for living in cloud.living] == [other.instance_id]
    assert "is gone already (cft machines down)" in machines(cloud, "down", one.key)


def test_down_leaves_what_is_not_ours_or_at_work(cloud, account, tmp_path) -> None:
    cloud.machines["theirs"] = Machine(
        "theirs", "my notebook", A10, "us-east-1", 75, [], born=cloud.clock.now(), fate="ok"
    )
    assert refused(cloud, "down", "theirs", "--yes").startswith("theirs: no machine of the ledger")
    mine = ready(account, "run-1")
    with watching(lease_folder(Home(tmp_path), "run-1")):
        said = refused(cloud, "down", mine.key, "--yes")
        assert "serves the run run-1" in said
        assert "--force" in said
        assert len(cloud.living) == 2
        machines(cloud, "down", mine.key, "--yes", "--force")
    assert [living.id for living in cloud.living] == ["theirs"]


def test_one_that_stays_is_an_error_and_the_others_still_go(cloud, account) -> None:
    stays, goes = ready(account, "run-1"), ready(account, "run-2")
    cloud.machines[str(stays.instance_id)].noop = True
    shown = machines(cloud, "down", stays.key, goes.key, "--yes", code=1)
    assert f"error: release: {stays.instance_id}" in shown
    assert f"{goes.key}: gone" in shown
    assert [living.id for living in cloud.living] == [stays.instance_id]
